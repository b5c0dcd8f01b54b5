/**
 * Which record of an outbox goes to the hub next. Records have keys in the order in which they were kept.
 *
 *          cursor            tail
 *   ─────────┼────────────────┼──────────────▶ keys
 *    handed  │ backlog, drained in order │ what comes goes ahead
 *
 * A record that comes goes ahead of the backlog when all that its room had before it went already: either there is no
 * backlog, or the room's last record is behind the cursor or went ahead itself. Any other joins the backlog, so that the
 * order of a room holds. What went ahead is passed over when the cursor comes by.
 */
export interface Ordered {
  readonly key: number;
  readonly frame: { readonly length: number };
}

/** Records ahead of the backlog are in memory; what is over this joins the backlog, which is on the disk. */
const AHEAD_MAX_BYTES = 8 * 1024 * 1024;
const RECORD_OVERHEAD_BYTES = 300;

export class SendOrder<Record extends Ordered> {
  #cursor = 0;
  #tail: number;
  #lastKey: number;
  #isUp = false;
  #ahead: Record[] = [];
  #aheadHead = 0;
  #aheadBytes = 0;
  /** Keys above the cursor that go or went ahead. */
  readonly #passed = new Set<number>();

  /** `lastKey` is that of the last record that is kept already. */
  constructor(lastKey: number) {
    this.#tail = lastKey;
    this.#lastKey = lastKey;
  }

  /** The backlog is what comes after this key. */
  get cursor(): number {
    return this.#cursor;
  }

  get hasBacklog(): boolean {
    return this.#tail > this.#cursor;
  }

  get aheadBytes(): number {
    return this.#aheadBytes;
  }

  /** There is somebody to send to: everything that is kept is still to be sent. */
  up(): void {
    this.rewind(0);
    this.#isUp = true;
  }

  down(): void {
    this.rewind(0);
    this.#isUp = false;
  }

  /** A record was kept, the last one of its room that is kept being `prevKey` (0: none). Tells which way it goes. */
  kept(record: Record, prevKey: number): 'ahead' | 'backlog' | 'gone' {
    const { key } = record;
    this.#lastKey = Math.max(this.#lastKey, key);
    // It was on the disk before it was told of, and the backlog came by.
    if (key <= this.#cursor) return 'gone';
    const bytes = record.frame.length + RECORD_OVERHEAD_BYTES;
    const isNext = !this.hasBacklog || prevKey === 0 || prevKey <= this.#cursor || this.#passed.has(prevKey);
    if (!this.#isUp || !isNext || this.#aheadBytes + bytes > AHEAD_MAX_BYTES) {
      this.#tail = key;
      return 'backlog';
    }
    this.#ahead.push(record);
    this.#aheadBytes += bytes;
    this.#passed.add(key);
    return 'ahead';
  }

  /** The next record that goes ahead of the backlog. */
  takeAhead(): Record | undefined {
    const record = this.#ahead[this.#aheadHead];
    if (record === undefined) return undefined;
    this.#aheadHead += 1;
    this.#aheadBytes -= record.frame.length + RECORD_OVERHEAD_BYTES;
    if (this.#aheadHead * 2 > this.#ahead.length) {
      this.#ahead = this.#ahead.slice(this.#aheadHead);
      this.#aheadHead = 0;
    }
    return record;
  }

  /** Whether a record of the backlog needs not be sent any more. */
  wentAhead(key: number): boolean {
    return this.#passed.has(key);
  }

  /** The backlog's next record was sent, or went ahead: the cursor moves past it. */
  pass(key: number): void {
    this.#cursor = Math.max(this.#cursor, key);
    this.#passed.delete(key);
  }

  /** There is nothing after the cursor any more. */
  drained(): void {
    this.#cursor = Math.max(this.#cursor, this.#tail);
  }

  /** A record is not kept any more: what comes after it in its room does not ask for it. */
  settled(key: number): void {
    this.#passed.delete(key);
  }

  /** Everything after this key is to be sent, again if it was: as backlog, in order. */
  rewind(afterKey: number): void {
    this.#cursor = Math.min(this.#cursor, afterKey);
    this.#tail = this.#lastKey;
    this.#ahead = [];
    this.#aheadHead = 0;
    this.#aheadBytes = 0;
    for (const key of this.#passed) if (key > afterKey) this.#passed.delete(key);
  }
}
