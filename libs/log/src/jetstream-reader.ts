import { isExactPattern, matchesPattern } from '@carillon/wire';

import { LogError, type LogGap, type LogPage, type ReadQuery, type StoredEvent } from './event-log.ts';
import { joinGaps } from './gaps.ts';
import { CursorLost, JetStreamCursor, type CursorMessage } from './jetstream-cursor.ts';
import { gapsOf, GoneRooms, lastGoneBefore, NOTHING_GONE, type GoneOfRoom } from './jetstream-gone.ts';
import { lastSeqs, messageOf } from './jetstream-lookup.ts';
import { decodeRecord } from './jetstream-record.ts';
import { stateOf, type OpenStream } from './jetstream-stream.ts';
import { filtersOf, parseLogSubject } from './jetstream-subjects.ts';

/*
 * A page: ask the leader for the head, read up to it, say what is missing. The cursor of a page that was not the last is kept for
 * the next one, which begins where it stands.
 *
 * A cursor stands on a replica of the server's choice. One that has just come back may pass over what it has not caught up on yet: seen
 * with nats-server 2.15, after a kill. So cursors are made until one stands on the leader. Should none, the leader is asked whether it has
 * another event of these rooms than those that came; if so, it is waited for.
 */
const BATCH_EVENTS = 1_000;
// Messages that a page may look at when its patterns want few of those that their filters select.
const SCANNED_MAX = 20_000;
const CURSORS_MAX = 64;
const CURSOR_IDLE_MS = 30_000;
const ROOMS_REMEMBERED_MAX = 20_000;
// Cursors that are made until one stands on the leader; one in three does.
const LEADER_TRIES = 15;
const REPLICA_WAIT_MS = 500;
const REPLICA_TRIES = 10;
// Readings of a page of which messages were lost on their way, or deleted before they were sent.
const LOST_TRIES = 4;
const NOTHING: ReadonlyMap<string, GoneOfRoom> = new Map();

interface Standing {
  readonly cursor: JetStreamCursor;
  /** Where it began; one that began at 0 has passed every room. */
  readonly begunAfter: number;
  /** The last sequence of each subject that this cursor has passed. */
  readonly previous: Map<string, number>;
  usedAtMs: number;
}

interface Scan {
  readonly messages: readonly CursorMessage[];
  readonly isLast: boolean;
  readonly next: number;
}

export class JetStreamReader {
  readonly gone = new GoneRooms();
  readonly #standing = new Map<string, Standing>();
  readonly #damaged: () => void;

  /** `damaged` is called with each message that is no record. */
  constructor(damaged: () => void) {
    this.#damaged = damaged;
  }

  async page(stream: OpenStream, query: ReadQuery): Promise<LogPage> {
    for (let tries = 1; ; tries += 1) {
      try {
        // Servers may count what is gone as being there: the last time they are believed.
        return await this.#page(stream, query, { isStrict: tries < LOST_TRIES });
      } catch (error) {
        if (!(error instanceof CursorLost) || tries === LOST_TRIES) throw error;
      }
    }
  }

  async #page(stream: OpenStream, query: ReadQuery, { isStrict }: { readonly isStrict: boolean }): Promise<LogPage> {
    const { state, leader } = await stateOf(stream);
    const head = state.last_seq;
    const end = Math.min(query.upTo ?? head, head);
    if (query.after >= end) return { events: [], gaps: [], next: query.after, isLast: true };
    const filters = filtersOf('log', query.workspaceId, query.rooms);
    const keyOf = (after: number) => [query.workspaceId, after, ...filters].join(' ');
    const standing = await this.#stand(stream, { key: keyOf(query.after), filters, after: query.after, leader });
    const scan = await this.#scan(standing.cursor, { query, filters, end, isStrict });
    const [goneRooms] = await Promise.all([this.#goneIn(stream, query), this.#learnPrevious(standing, scan.messages, query.after)]);
    const page = compose(scan, { query, goneRooms, previous: standing.previous, damaged: this.#damaged });
    if (scan.isLast || standing.previous.size > ROOMS_REMEMBERED_MAX) standing.cursor.close();
    else this.#keep(keyOf(scan.next), standing);
    return page;
  }

  async #stand(stream: OpenStream, { key, filters, after, leader }: { readonly key: string; readonly filters: readonly string[]; readonly after: number; readonly leader: string }): Promise<Standing> {
    const known = this.#standing.get(key);
    this.#standing.delete(key);
    const isAtLeader = (cursor: JetStreamCursor): boolean => stream.replicas === 1 || cursor.server === leader;
    if (known !== undefined && known.cursor.stream === stream && isAtLeader(known.cursor) && performance.now() - known.usedAtMs < CURSOR_IDLE_MS) return known;
    for (let tries = 1; ; tries += 1) {
      const cursor = await JetStreamCursor.open(stream, { filters, from: { after } });
      if (isAtLeader(cursor) || tries === LEADER_TRIES) return { cursor, begunAfter: after, previous: new Map(), usedAtMs: 0 };
      cursor.close();
    }
  }

  #keep(key: string, standing: Standing): void {
    standing.usedAtMs = performance.now();
    this.#standing.set(key, standing);
    for (const [oldest, { cursor }] of this.#standing) {
      if (this.#standing.size <= CURSORS_MAX) return;
      this.#standing.delete(oldest);
      cursor.close();
    }
  }

  async #scan(cursor: JetStreamCursor, { query, filters, end, isStrict }: { readonly query: ReadQuery; readonly filters: readonly string[]; readonly end: number; readonly isStrict: boolean }): Promise<Scan> {
    const wants = wanter(query.rooms);
    const messages: CursorMessage[] = [];
    let position = query.after;
    let wanted = 0;
    let bytesLeft = query.maxBytes;
    let waits = 0;
    for (;;) {
      const maxEvents = Math.min(query.maxEvents - wanted, BATCH_EVENTS);
      const batch = await cursor.fetch({ maxEvents, maxBytes: Math.max(1, bytesLeft), isStrict, ...(waits > 0 ? { waitMs: REPLICA_WAIT_MS } : {}) });
      const isTooLarge = batch.end === 'bytes' && batch.messages.length === 0 && messages.length === 0;
      const got = isTooLarge ? await cursor.fetch({ maxEvents: 1, isStrict }) : batch;
      for (const message of got.messages) {
        if (message.seq > end) return { messages, isLast: true, next: end };
        position = message.seq;
        messages.push(message);
        bytesLeft -= message.data.length;
        if (wants(message.subject)) wanted += 1;
      }
      if (got.end === 'all') {
        if (await isAll(cursor.stream, { filters, position, end })) return { messages, isLast: true, next: end };
        waits += 1;
        if (waits > REPLICA_TRIES) throw new LogError('LOG_UNAVAILABLE', 'A replica of the stream is behind the others and does not catch up.');
      }
      if (got.end === 'bytes' || isTooLarge || bytesLeft <= 0 || wanted >= query.maxEvents || messages.length >= SCANNED_MAX) return { messages, isLast: false, next: position };
    }
  }

  /** Asked after the scan: what was deleted before it came to it is known by then. */
  async #goneIn(stream: OpenStream, { workspaceId, after }: ReadQuery): Promise<ReadonlyMap<string, GoneOfRoom>> {
    const { state } = await stateOf(stream);
    return state.num_deleted > 0 || state.first_seq > after + 1 ? this.gone.of(stream, workspaceId) : NOTHING;
  }

  async #learnPrevious({ cursor, previous, begunAfter }: Standing, messages: readonly CursorMessage[], after: number): Promise<void> {
    if (begunAfter === 0) return;
    const unknown = new Set(messages.map(({ subject }) => subject).filter((subject) => !previous.has(subject)));
    if (unknown.size === 0) return;
    for (const [subject, seq] of await lastSeqs(cursor.stream, [...unknown], after)) previous.set(subject, seq);
  }
}

async function isAll(stream: OpenStream, { filters, position, end }: { readonly filters: readonly string[]; readonly position: number; readonly end: number }): Promise<boolean> {
  if (stream.replicas === 1 || position >= end) return true;
  const next = await Promise.all(filters.map((filter) => messageOf(stream, { seq: position + 1, next_by_subj: filter })));
  return next.every((message) => message === undefined || message.seq > end);
}

function compose(scan: Scan, { query, goneRooms, previous, damaged }: { readonly query: ReadQuery; readonly goneRooms: ReadonlyMap<string, GoneOfRoom>; readonly previous: Map<string, number>; readonly damaged: () => void }): LogPage {
  const wants = wanter(query.rooms);
  const nowMs = Date.now();
  const events: StoredEvent[] = [];
  const gaps: LogGap[] = [];
  for (const { subject, seq, storedAtMs, data } of scan.messages) {
    const room = parseLogSubject(subject)?.room ?? '';
    const prevSeq = Math.max(previous.get(subject) ?? 0, lastGoneBefore(goneRooms.get(room) ?? NOTHING_GONE, seq));
    previous.set(subject, seq);
    if (!wants(subject)) continue;
    const event = decodeRecord(subject, data, { seq, prevSeq, storedAtMs });
    if (event === undefined) {
      damaged();
      gaps.push({ from: seq, to: seq, reason: 'damaged' });
    } else if (isExpired(event, nowMs)) gaps.push({ from: seq, to: seq, reason: 'retention' });
    else events.push(event);
  }
  for (const [room, gone] of goneRooms) {
    if (query.rooms.some((pattern) => matchesPattern(pattern, room))) gaps.push(...gapsOf(gone, { after: query.after, next: scan.next }));
  }
  return { events, gaps: joinGaps(gaps), next: scan.next, isLast: scan.isLast };
}

export const isExpired = ({ expiresAtMs }: Pick<StoredEvent, 'expiresAtMs'>, nowMs: number): boolean => expiresAtMs !== undefined && expiresAtMs <= nowMs;

/** Whether a subject's room is one of those wanted; remembers its answers. */
export function wanter(patterns: readonly string[]): (subject: string) => boolean {
  const exact = new Set(patterns.filter(isExactPattern));
  const open = patterns.filter((pattern) => !isExactPattern(pattern));
  const answers = new Map<string, boolean>();
  return (subject) => {
    const known = answers.get(subject);
    if (known !== undefined) return known;
    const room = parseLogSubject(subject)?.room;
    const answer = room !== undefined && (exact.has(room) || open.some((pattern) => matchesPattern(pattern, room)));
    answers.set(subject, answer);
    return answer;
  };
}
