import type { RetentionPolicy } from './event-log.ts';
import type { GroupCommit } from './group-commit.ts';
import { SEQ_END } from './lmdb-keys.ts';
import type { LmdbReader } from './lmdb-read.ts';
import type { LmdbStore } from './lmdb-store.ts';
import { closedFault } from './log-faults.ts';
import { excessCount, policyFor, type Aged } from './retention.ts';
import type { BookRoom, BookWorkspace, RoomBook } from './room-book.ts';

// Events that one commit deletes: appends wait that long at most.
const SWEEP_CHUNK_COUNT = 512;

export interface LmdbSweeperOptions {
  readonly store: LmdbStore;
  readonly book: RoomBook;
  readonly commits: GroupCommit;
  readonly reader: LmdbReader;
  readonly now: () => number;
}

interface Victim {
  readonly room: BookRoom;
  readonly seq: number;
  readonly bytes: number;
  /** Not known of a damaged one: its id stays behind, and is taken for unknown once the event is gone. */
  readonly id: string | undefined;
  readonly expiresAtMs: number | undefined;
}

/** Deletes events, some at a time, between the appends of others. One deletion at a time. */
export class LmdbSweeper {
  readonly #options: LmdbSweeperOptions;
  readonly #policies = new Map<string, readonly RetentionPolicy[]>();
  #turn: Promise<unknown> = Promise.resolve();
  #isEnding = false;

  constructor(options: LmdbSweeperOptions) {
    this.#options = options;
  }

  setRetention(workspaceId: string, policies: readonly RetentionPolicy[]): void {
    if (policies.length === 0) this.#policies.delete(workspaceId);
    else this.#policies.set(workspaceId, [...policies]);
  }

  sweep(): Promise<number> {
    return this.#inTurn(async () => (await this.#sweepExpired()) + (await this.#sweepRooms()));
  }

  /** Deletes all events of a workspace and forgets its rooms. */
  deleteWorkspace(workspaceId: string): Promise<void> {
    return this.#inTurn(async () => {
      const workspace = this.#options.book.workspace(workspaceId);
      if (workspace === undefined) return;
      for (const room of workspace.rooms.values()) await this.#deleteOldest(room, Infinity);
      await this.#forget(workspace);
    });
  }

  #inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** Begins no further chunk; resolves once the one under way is done. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#turn;
  }

  async #sweepExpired(): Promise<number> {
    const { store, now } = this.#options;
    for (let deleted = 0; ; ) {
      const due = [...store.expiries.getKeys({ end: { number: now(), seq: SEQ_END }, limit: SWEEP_CHUNK_COUNT })];
      if (due.length === 0) return deleted;
      const victims = due.flatMap(({ seq }) => this.#victim(seq) ?? []);
      await this.#delete(victims, due);
      deleted += victims.length;
    }
  }

  async #sweepRooms(): Promise<number> {
    const { book, now } = this.#options;
    let deleted = 0;
    for (const [workspaceId, policies] of this.#policies) {
      for (const room of [...(book.workspace(workspaceId)?.rooms.values() ?? [])]) {
        const policy = policyFor(room.name, policies);
        if (policy === undefined || room.tally.count === 0) continue;
        deleted += await this.#deleteOldest(room, excessCount(this.#aged(room), room.tally.bytes, { policy, nowMs: now() }));
      }
    }
    return deleted;
  }

  *#aged(room: BookRoom): Iterable<Aged> {
    for (const seq of this.#seqs(room, Infinity)) {
      const victim = this.#options.reader.event(seq);
      const bytes = this.#options.store.events.getBinaryFast(seq)?.length ?? 0;
      yield { bytes, storedAtMs: victim === undefined || victim === 'damaged' ? undefined : victim.storedAtMs };
    }
  }

  *#seqs({ number }: BookRoom, limit: number): Iterable<number> {
    const range = { start: { number, seq: 0 }, end: { number, seq: SEQ_END } };
    for (const { seq } of this.#options.store.index.getKeys(limit === Infinity ? range : { ...range, limit })) yield seq;
  }

  async #deleteOldest(room: BookRoom, count: number): Promise<number> {
    let deleted = 0;
    while (deleted < count) {
      const seqs = [...this.#seqs(room, Math.min(SWEEP_CHUNK_COUNT, count - deleted))];
      if (seqs.length === 0) break;
      await this.#delete(seqs.map((seq) => this.#victim(seq, room) ?? { room, seq, bytes: 0, id: undefined, expiresAtMs: undefined }));
      deleted += seqs.length;
    }
    return deleted;
  }

  #victim(seq: number, room?: BookRoom): Victim | undefined {
    const { store, book, reader } = this.#options;
    const bytes = store.events.getBinaryFast(seq)?.length;
    const event = reader.event(seq);
    if (bytes === undefined || event === undefined) return undefined;
    if (event === 'damaged') return room === undefined ? undefined : { room, seq, bytes, id: undefined, expiresAtMs: undefined };
    return { room: room ?? book.room(event.workspaceId, event.room), seq, bytes, id: event.id, expiresAtMs: event.expiresAtMs };
  }

  async #delete(victims: readonly Victim[], due: readonly { readonly number: number; readonly seq: number }[] = []): Promise<void> {
    if (this.#isEnding) throw closedFault();
    const { commits, store } = this.#options;
    await commits.write((commit) => {
      commit.grow({ entries: victims.length + due.length });
      for (const { room, seq, bytes } of victims) {
        const tally = commit.tally(room);
        tally.lostTo = Math.max(tally.lostTo, seq);
        room.losingTo = Math.max(room.losingTo, seq);
        tally.count = Math.max(0, tally.count - 1);
        tally.bytes = Math.max(0, tally.bytes - bytes);
      }
      return () => {
        for (const key of due) store.expiries.remove(key);
        for (const { room, seq, id, expiresAtMs } of victims) {
          store.events.remove(seq);
          store.index.remove({ number: room.number, seq });
          if (id !== undefined) store.ids.remove({ workspace: room.workspace.number, id });
          if (expiresAtMs !== undefined) store.expiries.remove({ number: expiresAtMs, seq });
        }
      };
    });
  }

  /** What was appended meanwhile keeps its rooms. Forgotten when it is planned, so that no later event of this commit gets a number that goes. */
  async #forget(workspace: BookWorkspace): Promise<void> {
    const { commits, store, book } = this.#options;
    let isForgotten = false;
    const writing = commits.write((commit) => {
      if ([...workspace.rooms.values()].some((room) => commit.peek(room).count > 0)) return () => undefined;
      book.forget(workspace);
      isForgotten = true;
      commit.grow({ entries: workspace.rooms.size });
      return () => {
        for (const room of workspace.rooms.values()) store.rooms.remove(room.number);
        store.workspaces.remove(workspace.number);
      };
    });
    await writing.catch((error: unknown) => {
      if (isForgotten) book.remember(workspace);
      throw error;
    });
  }
}
