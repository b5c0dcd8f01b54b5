/*
 * Keeps the order of appends to a store that takes them pipelined and may lose some of them: nothing is stored before something that
 * was appended earlier, as long as what loses them lasts longer than a round trip.
 *
 *           | an append    | its place is known                | it failed | a turn of the timer
 *   --------+--------------+-----------------------------------+-----------+--------------------------------------------------
 *   flowing | burst: sent  | it overtook the first: slow       | held      | nothing was answered for SLOW: slow
 *   slow    | waits        | nothing unanswered: flowing       | held      | the first is unanswered for PROBE: probe, held
 *   held    | first: probe | of a probe: proven                | held      | the first is due: probe
 *   proven  | waits        | nothing unanswered: flowing       | held      | GRACE is over: flowing
 *   away    | waits        | -                                 | away      | -
 *
 * A burst is what is appended in one turn of the process, from nothing unanswered on; what comes later waits until all of it is answered, and is
 * the next. So two events that are not of one moment are never under way together: a leader that steps down loses what reaches it, and is
 * followed by another within milliseconds; of one moment, it loses what comes last.
 *
 * A probe is the first that has no place, sent alone; as the first it may be sent at any time, as often as one likes, because the store
 * tells what it has already. Flowing begins with all that has no place, in order. Whenever the first has waited for its timeout, it
 * and all that were appended after it are refused, in order: whoever sends them again does so in order, and nothing is left that could
 * come between. Losing the connection leads to `away`, another one to `held`.
 */

/** Turns of the owner's timer are so long. Turns and not the clock, so that a process that stood still reads what has arrived before it judges. */
export const TURN_MS = 50;
// No answer to anything, though something is unanswered. As soon as nats-servers may have another leader: one that steps down is followed
// by another after 100 to 800 ms (minCampaignTimeoutDefault of raft.go), one that is lost after 4 s at least. It costs nothing to be wrong.
const SLOW_TURNS = 100 / TURN_MS;
const PROBE_UNANSWERED_TURNS = 1_000 / TURN_MS;
const PROBE_FAILED_TURNS = 100 / TURN_MS;
// For answers that are on their way when a probe is stored: others', and those that were stored before it.
const GRACE_TURNS = 250 / TURN_MS;
// What has left is dropped from the front in pieces of at least so many.
const COMPACT_FROM = 1_024;

/** Where an append stands; only AppendOrder changes it. */
export class Standing {
  addedTurn = 0;
  sentTurn = 0;
  sends = 0;
  /** Of what was sent, without an answer yet. */
  unanswered = 0;
  isProbe = false;
  /** Since it was sent last. */
  hasFailed = false;
  /** It is not in the order any more. */
  hasLeft = false;
}

export interface Ordered {
  readonly standing: Standing;
}

export interface AppendOrderOptions<Item> {
  readonly timeoutMs: number;
  readonly send: (item: Item) => void;
  /** Calls back when this turn of the process is over. */
  readonly afterTurn: (done: () => void) => void;
  /** The item has left because its time, or that of one before it, is over. */
  readonly refuse: (item: Item) => void;
}

type State = 'flowing' | 'slow' | 'held' | 'proven' | 'away';

export class AppendOrder<Item extends Ordered> {
  readonly #options: AppendOrderOptions<Item>;
  readonly #timeoutTurns: number;
  /** Oldest first, from #at on; some of them have left. */
  readonly #items: (Item | undefined)[] = [];
  #at = 0;
  #state: State = 'away';
  #turn = 0;
  #provenTurn = 0;
  /** Since then nothing was answered. */
  #silentTurn = 0;
  #unanswered = 0;
  /** Still in the turn in which it began. */
  #isBurstOpen = false;

  constructor(options: AppendOrderOptions<Item>) {
    this.#options = options;
    this.#timeoutTurns = Math.ceil(options.timeoutMs / TURN_MS);
  }

  get isEmpty(): boolean {
    return this.#first === undefined;
  }

  /** How long the first has waited for its place; 0: there is none. */
  get waitedMs(): number {
    const first = this.#first;
    return first === undefined ? 0 : (this.#turn - first.standing.addedTurn) * TURN_MS;
  }

  get state(): State {
    return this.#state;
  }

  add(item: Item): void {
    if (this.#at >= COMPACT_FROM && this.#at * 2 >= this.#items.length) {
      this.#items.splice(0, this.#at);
      this.#at = 0;
    }
    item.standing.addedTurn = this.#turn;
    this.#items.push(item);
    if (this.#state !== 'flowing') this.#probe();
    else if (this.#unanswered === 0 || this.#isBurstOpen) this.#send(item);
  }

  /** Something that was sent was answered, or never will be; false: its item has left, and nothing depends on it. */
  answered({ standing }: Item): boolean {
    if (standing.hasLeft) return false;
    standing.unanswered -= 1;
    this.#unanswered -= 1;
    this.#silentTurn = this.#turn;
    return true;
  }

  /** The item's place is known, or it will get none. `isStored`: it was given its place just now, in the order of the store. */
  leave(item: Item, { isStored }: { readonly isStored: boolean }): void {
    const isFirst = item === this.#first;
    this.#remove(item);
    if (this.#state === 'flowing') {
      // What overtook the first may have seen it lost.
      if (isStored && !isFirst) this.#state = 'slow';
      if (this.#unanswered === 0) this.#flow();
      return;
    }
    if (this.#state === 'held' && item.standing.isProbe) {
      this.#state = 'proven';
      this.#provenTurn = this.#turn;
    }
    if (this.#unanswered === 0 && (this.#state === 'slow' || this.#state === 'proven')) this.#flow();
    else this.#probe();
  }

  /** What was sent of the item was lost or refused for now. */
  failed({ standing }: Item): void {
    standing.isProbe = false;
    standing.hasFailed = true;
    this.hold();
  }

  /** The store said that it takes nothing at present, of whatever. */
  hold(): void {
    if (this.#state !== 'away') this.#state = 'held';
  }

  /** Takes out what was never sent, in order. */
  takeUnsent(): readonly Item[] {
    let from = this.#items.length;
    while (from > this.#at && this.#items[from - 1]?.standing.sends === 0) from -= 1;
    const unsent = this.#in(from);
    for (const item of unsent) this.#remove(item);
    return unsent;
  }

  /** What has no place yet, oldest first. */
  pending(): readonly Item[] {
    return this.#in(this.#at);
  }

  /** There is a connection: its first item goes alone. */
  attach(): void {
    this.#state = 'held';
    this.#probe();
  }

  detach(): void {
    this.#state = 'away';
  }

  /** To be called every TURN_MS while the order is not empty. */
  turn(): void {
    this.#turn += 1;
    const first = this.#first;
    if (first === undefined) return;
    if (this.#turn - first.standing.addedTurn >= this.#timeoutTurns) return this.#refuseAll();
    if (this.#state === 'flowing' && this.#turn - this.#silentTurn >= SLOW_TURNS) this.#state = 'slow';
    if (this.#state === 'slow' && this.#turn - first.standing.sentTurn >= PROBE_UNANSWERED_TURNS) this.#state = 'held';
    if (this.#state === 'proven' && this.#turn - this.#provenTurn >= GRACE_TURNS) this.#flow();
    this.#probe();
  }

  get #first(): Item | undefined {
    return this.#items[this.#at];
  }

  #in(from: number): readonly Item[] {
    return this.#items.slice(from).filter((item): item is Item => item?.standing.hasLeft === false);
  }

  #probe(): void {
    const first = this.#first;
    if (this.#state !== 'held' || first === undefined) return;
    const { sends, hasFailed, sentTurn } = first.standing;
    if (sends > 0 && this.#turn - sentTurn < (hasFailed ? PROBE_FAILED_TURNS : PROBE_UNANSWERED_TURNS)) return;
    first.standing.isProbe = true;
    this.#send(first);
  }

  #flow(): void {
    this.#state = 'flowing';
    for (let at = this.#at; at < this.#items.length; at += 1) {
      const item = this.#items[at];
      if (item === undefined || item.standing.hasLeft) continue;
      item.standing.isProbe = false;
      this.#send(item);
    }
  }

  #openBurst(): void {
    this.#silentTurn = this.#turn;
    if (this.#isBurstOpen) return;
    this.#isBurstOpen = true;
    this.#options.afterTurn(() => (this.#isBurstOpen = false));
  }

  #send(item: Item): void {
    const { standing } = item;
    if (this.#unanswered === 0) this.#openBurst();
    standing.sends += 1;
    standing.hasFailed = false;
    standing.sentTurn = this.#turn;
    standing.unanswered += 1;
    this.#unanswered += 1;
    this.#options.send(item);
  }

  #remove({ standing }: Item): void {
    standing.hasLeft = true;
    this.#unanswered -= standing.unanswered;
    for (; this.#first?.standing.hasLeft === true; this.#at += 1) this.#items[this.#at] = undefined;
    if (this.#at < this.#items.length) return;
    this.#items.length = 0;
    this.#at = 0;
  }

  #refuseAll(): void {
    const items = this.pending();
    for (const item of items) this.#remove(item);
    this.hold();
    for (const item of items) this.#options.refuse(item);
  }
}
