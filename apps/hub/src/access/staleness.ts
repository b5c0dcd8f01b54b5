/**
 * Whether this hub may be missing changes of access. It is current while all three hold:
 *
 *   heard     everything there was at the last (re)connection has come, and a round trip to the bus has succeeded since
 *   applied   what config-manager says it has handed to the feed has come here
 *   readable  no record is there that this hub cannot read
 *
 * and stale once one of the first two has not held for `afterMs`, or the third does not hold. That no word comes of
 * config-manager is no sign: when it is down nobody can have changed anything.
 */
export interface StalenessOptions {
  /** 0: never stale. */
  readonly afterMs: number;
  /** Milliseconds of a clock that does not go back. */
  readonly now: () => number;
  /** Called on every change. */
  readonly changed: (stale: boolean, why: string) => void;
}

/** Unreadable records that are told apart; beyond that one of them being mended is not noticed until all are given again. */
const UNREADABLE_MAX = 10_000;

export class Staleness {
  readonly #options: StalenessOptions;
  readonly #unreadable = new Set<string>();
  #isSynced = false;
  #heardAtMs: number;
  /** The last position that config-manager said it had handed over, since when, and the first of those that we have not reached. */
  #saidSeq = 0;
  #saidAtMs = 0;
  #missing: { readonly seq: number; readonly sinceMs: number } | undefined = undefined;
  #appliedSeq = 0;
  #stale = false;

  constructor(options: StalenessOptions) {
    this.#options = options;
    this.#heardAtMs = options.now();
  }

  get isStale(): boolean {
    return this.#stale;
  }

  /** How long until it is to be looked at again, if nothing happens; undefined while it is stale or never will be. */
  get dueInMs(): number | undefined {
    const { afterMs, now } = this.#options;
    if (afterMs === 0 || this.#stale) return undefined;
    return Math.max(0, Math.min(this.#heardAtMs, this.#missing?.sinceMs ?? Infinity) + afterMs - now());
  }

  /** Everything that was there has come. */
  synced(): void {
    this.#isSynced = true;
    this.look();
  }

  /** The connection is lost: what changes now is heard after the next sync only. */
  lost(): void {
    this.#isSynced = false;
    this.look();
  }

  /** A round trip that began then has succeeded. */
  roundTrip(beganAtMs: number): void {
    if (this.#isSynced) this.#heardAtMs = Math.max(this.#heardAtMs, beganAtMs);
    this.look();
  }

  /** config-manager has handed over all up to this position. */
  said(seq: number): void {
    if (seq !== this.#saidSeq) this.#saidAtMs = this.#options.now();
    this.#saidSeq = seq;
    if (seq > this.#appliedSeq) this.#missing ??= { seq, sinceMs: this.#saidAtMs };
    else this.#missing = undefined;
    this.look();
  }

  /** This hub has applied all up to this position. */
  applied(seq: number): void {
    this.#appliedSeq = seq;
    if (this.#missing === undefined || seq < this.#missing.seq) return;
    this.#missing = this.#saidSeq > seq ? { seq: this.#saidSeq, sinceMs: this.#saidAtMs } : undefined;
    this.look();
  }

  unreadable(record: string): void {
    if (this.#unreadable.size < UNREADABLE_MAX) this.#unreadable.add(record);
    this.look();
  }

  readable(record: string): void {
    if (this.#unreadable.delete(record)) this.look();
  }

  look(): void {
    const why = this.#fault();
    const stale = why !== undefined;
    if (stale === this.#stale) return;
    this.#stale = stale;
    this.#options.changed(stale, why ?? '');
  }

  #fault(): string | undefined {
    const { afterMs, now } = this.#options;
    if (afterMs === 0) return undefined;
    const nowMs = now();
    if (nowMs - this.#heardAtMs >= afterMs) return 'the bus does not answer';
    if (this.#missing !== undefined && nowMs - this.#missing.sinceMs >= afterMs) return 'changes that were made have not come';
    return this.#unreadable.size > 0 ? 'a record of the access feed cannot be read' : undefined;
  }
}
