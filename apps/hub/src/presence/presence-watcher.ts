import type { ControlFrame } from '@carillon/wire';

import type { Present, PresenceFold } from './presence-fold.ts';

/**
 * What one watcher of a room is still to be told: names, not what happened to them, and each as it is when the reader takes it.
 *
 *   begin ──▶ everybody, one by one ─┐
 *   change ──▶ names ────────────────┴─ turn is over, lane is clear ──▶ one frame ── lane is clear ──▶ the next
 *
 * Everybody is not copied: what is told next is looked up where it is kept.
 */
export interface WatcherOptions {
  readonly request: string;
  readonly room: string;
  readonly send: (frame: ControlFrame) => void;
  /** Calls back once when the peer takes more; also when it is gone. */
  readonly whenClear: (listener: () => void) => void;
}

/** Names that one frame tells, and the characters after which it takes no more: with one member more of the largest (6 KB in JSON) it is well under the bound on text frames. */
const FRAME_NAMES_MAX = 200;
const FRAME_MAX_CHARACTERS = 32_768;
/** A watcher that more names wait for is told everybody anew, which costs no memory. */
const NAMES_MAX = 1_024;

export class PresenceWatcher {
  readonly #options: WatcherOptions;
  /** Who is still to be told since it began. */
  #rest: Iterator<readonly [name: string, atMs: number]> | undefined = undefined;
  /** Names that changed since, and when. */
  readonly #due = new Map<string, number>();
  #fold: PresenceFold | undefined = undefined;
  #isAll = false;
  #isWaiting = false;
  #isEnded = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
  }

  get room(): string {
    return this.#options.room;
  }

  /** From now on this is who is there: everybody is told anew. */
  begin(fold: PresenceFold): void {
    this.#fold = fold;
    this.#isAll = true;
    this.#due.clear();
    this.#rest = everybody(fold, this.#options.room);
    this.#flushLater();
  }

  changed(name: string, atMs: number): void {
    if (this.#fold === undefined || this.#isEnded) return;
    this.#due.set(name, atMs);
    if (this.#due.size > NAMES_MAX) this.begin(this.#fold);
    else this.#flushLater();
  }

  end(): void {
    this.#isEnded = true;
    this.#due.clear();
  }

  #flushLater(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    // What changes in one turn is told together.
    setImmediate(() => this.#options.whenClear(() => {
      this.#isWaiting = false;
      this.#flush();
    }));
  }

  #flush(): void {
    const fold = this.#fold;
    if (this.#isEnded || fold === undefined) return;
    const { request, room, send } = this.#options;
    const joined: Present[] = [];
    const left: Present[] = [];
    let characters = 0;
    let next = this.#next();
    for (; next !== undefined; next = this.#next()) {
      const [name, atMs] = next;
      const person = fold.people(room).get(name);
      const member: Present = person === undefined ? { name, at: fold.lastSeen(room).get(name) ?? atMs } : { name, at: person.at, ...(person.data === undefined ? {} : { data: person.data }) };
      (person === undefined ? left : joined).push(member);
      characters += JSON.stringify(member).length;
      if (joined.length + left.length === FRAME_NAMES_MAX || characters > FRAME_MAX_CHARACTERS) break;
    }
    const isAll = this.#isAll;
    this.#isAll = false;
    if (isAll || joined.length + left.length > 0) send({ op: 'presence', request, room, ...(isAll ? { isAll } : {}), joined, left });
    if (next !== undefined) this.#flushLater();
  }

  /** The next name that is due. */
  #next(): readonly [name: string, atMs: number] | undefined {
    const rest = this.#rest?.next();
    if (rest?.done === false) return rest.value;
    this.#rest = undefined;
    const [due] = this.#due;
    if (due !== undefined) this.#due.delete(due[0]);
    return due;
  }
}

/** Follows what changes meanwhile; who comes or goes behind its back is among the changes. */
function* everybody(fold: PresenceFold, room: string): Generator<readonly [name: string, atMs: number]> {
  for (const { name, at } of fold.people(room).values()) yield [name, at];
  yield* fold.lastSeen(room);
}
