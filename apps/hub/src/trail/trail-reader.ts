import type { StoredEvent } from '@carillon/log';
import type { Lane } from '@carillon/session';
import type { GapReason } from '@carillon/wire';

import { RoomRuns } from './trail-runs.ts';
import type { ReaderKind, TrailFact } from './trail.ts';

/**
 * One reader of durable rooms, as its trail has it:
 *
 *   opened ──begin──▶ catching-up ──live──▶ live ──behind──▶ catching-up         any ──end──▶ ended
 *
 * What it was given and what its connection has taken are two positions: what lies between may be dropped.
 */
type State = 'opened' | 'catching-up' | 'live' | 'ended';

export interface ReaderSpec {
  readonly how: ReaderKind;
  readonly session: string;
  readonly keyId: string | undefined;
  readonly rooms: readonly string[];
  readonly echo?: boolean;
  readonly lane: Lane;
}

export interface TrailReaderParts {
  readonly id: string;
  readonly peer: string;
  readonly spec: ReaderSpec;
  readonly note: (fact: TrailFact) => void;
  /** The highest sequence that the tail of the log has brought. */
  readonly heardSeq: () => number;
  /** Milliseconds of a clock that does not go back. */
  readonly clock: () => number;
  readonly forget: (reader: TrailReader) => void;
}

/** A reader that reads on says so this often at most. */
const READ_SAID_MS = 500;
/** Runs that a reader keeps for the next flush. */
const RUNS_MAX = 1_000;

export class TrailReader {
  readonly #parts: TrailReaderParts;
  #state: State = 'opened';
  #after = 0;
  /** What its connection has taken, and what it was given. */
  #handed = 0;
  #given = 0;
  #live = 0;
  #saidAtMs = 0;
  #saidHanded = 0;
  readonly #denied = new RoomRuns();

  constructor(parts: TrailReaderParts) {
    this.#parts = parts;
  }

  get id(): string {
    return this.#parts.id;
  }

  get lane(): Lane {
    return this.#parts.spec.lane;
  }

  get isLive(): boolean {
    return this.#state === 'live';
  }

  /** It gets what comes after this; `since`: its session came with this position. */
  begin(after: number, { since }: { readonly since?: number | undefined } = {}): void {
    if (this.#state !== 'opened') return;
    this.#state = 'catching-up';
    this.#after = this.#handed = this.#given = this.#saidHanded = after;
    this.#parts.note({ ...this.#reading(), ...(since === undefined ? {} : { since }) });
  }

  /** It is live from the start. */
  beginLive(after: number): void {
    if (this.#state !== 'opened') return;
    this.#state = 'live';
    this.#after = this.#handed = this.#given = this.#live = after;
    this.#parts.note({ ...this.#reading(), live: after });
  }

  /** Everything up to here is in its lane. */
  gave(upTo: number): void {
    this.#given = Math.max(this.#given, upTo);
  }

  /** Everything that it was given is with its connection. */
  taken(): void {
    if (this.#state !== 'catching-up') return;
    this.#handed = Math.max(this.#handed, this.#given);
    if (this.#handed > this.#saidHanded && this.#parts.clock() - this.#saidAtMs >= READ_SAID_MS) this.#sayRead();
  }

  live(seq: number): void {
    if (this.#state !== 'catching-up') return;
    this.#state = 'live';
    this.#live = seq;
    this.#handed = this.#given = Math.max(this.#given, seq);
    this.#parts.note({ kind: 'live', reader: this.id, seq });
  }

  /** It reads the log again from here on; what was written before may wait in its lane. */
  behind(seq: number): void {
    if (this.#state !== 'live') return;
    this.#state = 'catching-up';
    this.#given = seq;
    this.#handed = this.lane.queuedBytes === 0 ? seq : Math.min(seq, Math.max(this.#live, this.lane.writtenSeq));
    this.#saidHanded = this.#handed;
    this.#parts.note({ kind: 'behind', reader: this.id, upTo: this.#handed });
  }

  gap(gap: { readonly from: number; readonly to: number; readonly reason: GapReason }): void {
    this.gave(gap.to);
    this.#parts.note({ kind: 'gap', reader: this.id, from: gap.from, to: gap.to, reason: gap.reason });
  }

  /** It may not have an event that it would have read. */
  denied(event: StoredEvent): void {
    this.#denied.add(event);
    if (this.#denied.size >= RUNS_MAX) this.#sayDenied();
  }

  /** Says what has not been said yet; called now and then. */
  beat(): void {
    this.#sayDenied();
    if (this.#state === 'catching-up' && this.#handed > this.#saidHanded) this.#sayRead();
  }

  /** Says again that it is there. */
  again(): void {
    if (this.#state === 'live') this.#parts.note({ ...this.#reading(), live: this.#live, again: true });
    else if (this.#state === 'catching-up') this.#parts.note({ ...this.#reading(), read: this.#handed, again: true });
  }

  /** By its own wish: what it was given still goes out. Of a connection that has ended `lost` says what became of it. */
  end(reason: string): void {
    if (this.lane.closed) return;
    this.#sayDenied();
    const upTo = this.#reached();
    this.#close({ upTo, to: upTo, reason });
  }

  /** Its connection is gone, and so is what waited there. Said again when more is known. */
  lost({ isDropped, reason, isLast }: { readonly isDropped: boolean; readonly reason: string; readonly isLast: boolean }): void {
    this.#sayDenied();
    const to = this.#reached();
    const taken = this.#state === 'live' ? Math.max(this.#live, this.lane.writtenSeq) : this.#handed;
    const fact = { upTo: isDropped ? Math.min(taken, to) : to, to, reason };
    if (isLast) this.#close(fact);
    else this.#noteEnd(fact);
  }

  #reached(): number {
    return this.#state === 'live' ? Math.max(this.#live, this.#parts.heardSeq()) : this.#given;
  }

  #close(fact: { readonly upTo: number; readonly to: number; readonly reason: string }): void {
    if (this.#state === 'ended') return;
    this.#noteEnd(fact);
    this.#state = 'ended';
    this.#parts.forget(this);
  }

  #noteEnd(fact: { readonly upTo: number; readonly to: number; readonly reason: string }): void {
    // One that never began owes nothing and is owed nothing.
    if (this.#state !== 'ended' && this.#state !== 'opened') this.#parts.note({ kind: 'ended', reader: this.id, ...fact });
  }

  #sayRead(): void {
    this.#saidAtMs = this.#parts.clock();
    this.#saidHanded = this.#handed;
    this.#parts.note({ kind: 'read', reader: this.id, upTo: this.#handed });
  }

  #sayDenied(): void {
    if (this.#denied.size === 0) return;
    for (const { room, from, to } of this.#denied.take()) this.#parts.note({ kind: 'skipped', reader: this.id, room, from, to, reason: 'RECEIVE_DENIED' });
  }

  #reading() {
    const { id, peer, spec: { how, session, keyId, rooms, echo } } = this.#parts;
    return {
      kind: 'reading', reader: id, peer, session, ...(keyId === undefined ? {} : { key: keyId }), how, rooms, ...(echo === true ? { echo } : {}), after: this.#after,
    } as const;
  }
}
