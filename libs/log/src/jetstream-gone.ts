import { LogError, type LogGap } from './event-log.ts';
import { JetStreamCursor } from './jetstream-cursor.ts';
import { ifLastIs } from './jetstream-header.ts';
import { ApiFault } from './jetstream-link.ts';
import { messageOf } from './jetstream-lookup.ts';
import type { OpenStream } from './jetstream-stream.ts';
import { allOf, parseLogSubject, subjectOf } from './jetstream-subjects.ts';

/*
 * JetStream forgets what it deletes. So before a room's events are deleted it is written down, one record a room, how far: readers
 * are told the gap, and the chain of a room's sequences holds. Every reader looks at what is new there before it says that
 * nothing is missing. Several processes may sweep: a record is replaced only by who has read it. Records outlive a log that is made
 * anew, so each names its epoch.
 */
const PAGE_EVENTS = 1_000;
const CURSOR_IDLE_MS = 30_000;
const WORKSPACES_MAX = 256;
const REPLICA_WAIT_MS = 500;
const REPLICA_TRIES = 10;
// The last message of the subject has another sequence: in a publish ack, by one server or a cluster.
const REPLACED_CODES: ReadonlySet<number> = new Set([10_071, 10_164]);
const WRITE_TRIES = 10;
// Single deletions of a room that are told apart; the oldest become part of the range.
const SINGLES_MAX = 100;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What is deleted of a room: everything that lay between `from` and `upTo`, and single events that had expired. */
export interface GoneOfRoom {
  /** 0: nothing but the single ones. */
  readonly from: number;
  readonly upTo: number;
  readonly singles: readonly number[];
}

export const NOTHING_GONE: GoneOfRoom = { from: 0, upTo: 0, singles: [] };

/** What is gone once everything up to a sequence is deleted too. */
export function withRange(gone: GoneOfRoom, { from, upTo }: { readonly from: number; readonly upTo: number }): GoneOfRoom {
  const start = gone.from === 0 ? from : Math.min(gone.from, from);
  const end = Math.max(gone.upTo, upTo);
  return { from: Math.min(start, ...gone.singles.filter((seq) => seq <= end)), upTo: end, singles: gone.singles.filter((seq) => seq > end) };
}

export function withSingles(gone: GoneOfRoom, seqs: readonly number[]): GoneOfRoom {
  const singles = [...new Set([...gone.singles, ...seqs.filter((seq) => seq < gone.from || seq > gone.upTo)])].sort((one, other) => one - other);
  const oldest = singles.slice(0, Math.max(0, singles.length - SINGLES_MAX));
  const kept: GoneOfRoom = { ...gone, singles: singles.slice(oldest.length) };
  return oldest.length === 0 ? kept : withRange(kept, { from: oldest[0] ?? 0, upTo: oldest.at(-1) ?? 0 });
}

/** The last deleted sequence of the room before one; 0: none. */
export function lastGoneBefore({ upTo, singles }: GoneOfRoom, seq: number): number {
  return Math.max(upTo < seq ? upTo : 0, ...singles.filter((single) => single < seq));
}

/** What a reader from `after` to `next` does not get of this room. */
export function gapsOf({ from, upTo, singles }: GoneOfRoom, { after, next }: { readonly after: number; readonly next: number }): readonly LogGap[] {
  const range = { from: Math.max(from, after + 1), to: Math.min(upTo, next), reason: 'retention' } as const;
  return [...(upTo > 0 && range.from <= range.to ? [range] : []), ...singles.filter((seq) => seq > after && seq <= next).map((seq) => ({ from: seq, to: seq, reason: 'retention' }) as const)];
}

interface GoneRecord extends GoneOfRoom {
  readonly epoch: string;
}

interface Known {
  readonly cursor: JetStreamCursor;
  readonly rooms: Map<string, GoneOfRoom>;
  /** Sequences of the records, also of those of another epoch. */
  readonly records: Map<string, number>;
  /** The last record read. */
  position: number;
  usedAtMs: number;
  reading: Promise<unknown>;
}

/** What is gone of each workspace's rooms, as far as it was asked for; reads on from where it was at each look. */
export class GoneRooms {
  readonly #workspaces = new Map<string, Known>();

  /** Rooms of a workspace of which something is gone, as of now. The map changes with later looks. */
  async of(stream: OpenStream, workspaceId: string): Promise<ReadonlyMap<string, GoneOfRoom>> {
    return (await this.#look(stream, workspaceId)).rooms;
  }

  /** Writes down what is gone of a room, given what is written there; resolves once that is stored. */
  async change(stream: OpenStream, { workspaceId, room }: { readonly workspaceId: string; readonly room: string }, change: (gone: GoneOfRoom) => GoneOfRoom): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const known = await this.#look(stream, workspaceId);
      const record: GoneRecord = { ...change(known.rooms.get(room) ?? NOTHING_GONE), epoch: stream.epoch };
      const ack = await stream.link.request(subjectOf('gone', workspaceId, room), encoder.encode(JSON.stringify(record)), { headers: ifLastIs(known.records.get(room) ?? 0) });
      const { error } = ack.json<{ readonly error?: { readonly err_code?: number; readonly description: string } }>();
      if (error === undefined) return;
      if (tries === WRITE_TRIES || !REPLACED_CODES.has(error.err_code ?? 0)) throw new ApiFault(error.err_code ?? 0, error.description);
      // Replaced or purged by another process: read from the beginning, because a purge does not say so.
      this.forget(workspaceId);
    }
  }

  async #look(stream: OpenStream, workspaceId: string): Promise<Known> {
    let known = this.#workspaces.get(workspaceId);
    if (known === undefined || known.cursor.stream !== stream || performance.now() - known.usedAtMs > CURSOR_IDLE_MS) {
      known?.cursor.close();
      const cursor = await JetStreamCursor.open(stream, { streamName: stream.goneName, filters: [allOf('gone', workspaceId)], from: { after: 0 } });
      known = { cursor, rooms: new Map(), records: new Map(), position: 0, usedAtMs: performance.now(), reading: Promise.resolve() };
      this.#workspaces.set(workspaceId, known);
      const [oldest] = this.#workspaces.keys();
      if (oldest !== undefined && this.#workspaces.size > WORKSPACES_MAX) this.#workspaces.delete(oldest);
    }
    const current = known;
    // One after the other: two readers of one cursor would take each other's records.
    const reading = current.reading.then(() => readOn(current, workspaceId));
    current.reading = reading.catch(() => this.#workspaces.delete(workspaceId));
    await reading;
    return current;
  }

  forget(workspaceId: string): void {
    this.#workspaces.delete(workspaceId);
  }
}

async function readOn(known: Known, workspaceId: string): Promise<void> {
  const { stream } = known.cursor;
  let waits = 0;
  for (;;) {
    known.usedAtMs = performance.now();
    const { messages, end } = await known.cursor.fetch({ maxEvents: PAGE_EVENTS, ...(waits > 0 ? { waitMs: REPLICA_WAIT_MS } : {}) });
    for (const { subject, seq, data } of messages) {
      const room = parseLogSubject(subject)?.room;
      const record = recordOf(data);
      if (room !== undefined) known.records.set(room, seq);
      if (room !== undefined && record?.epoch === stream.epoch) known.rooms.set(room, record);
      known.position = seq;
    }
    if (end === 'more') continue;
    // A cursor may stand on a replica that is behind: the leader says whether this is all.
    if (stream.replicas === 1 || (await messageOf(stream, { seq: known.position + 1, next_by_subj: allOf('gone', workspaceId) }, stream.goneName)) === undefined) return;
    waits += 1;
    if (waits > REPLICA_TRIES) throw new LogError('LOG_UNAVAILABLE', 'A replica of the stream is behind the others and does not catch up.');
  }
}

/** Undefined: nothing that this log wrote. */
function recordOf(data: Uint8Array): GoneRecord | undefined {
  try {
    return JSON.parse(decoder.decode(data)) as GoneRecord;
  } catch {
    return undefined;
  }
}
