/** Ids that are kept between two reports; more are not noted until the next. */
const IDS_MAX = 10_000;
/** Keys in one message: well under what any NATS takes. */
const REPORT_KEYS_MAX = 1_000;

/** Which keys were used, and when last, since it was last reported. */
export class UsedKeys {
  readonly #atMs = new Map<string, number>();
  readonly #now: () => number;

  /** `now`: milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  note(keyId: string): void {
    if (this.#atMs.size < IDS_MAX || this.#atMs.has(keyId)) this.#atMs.set(keyId, this.#now());
  }

  /** Hands over what was noted, in pieces, and forgets what was taken; what was not is handed over the next time. */
  report(take: (used: readonly { readonly id: string; readonly atMs: number }[]) => boolean): void {
    const used = [...this.#atMs].map(([id, atMs]) => ({ id, atMs }));
    for (let at = 0; at < used.length; at += REPORT_KEYS_MAX) {
      const piece = used.slice(at, at + REPORT_KEYS_MAX);
      if (take(piece)) for (const { id } of piece) this.#atMs.delete(id);
    }
  }
}
