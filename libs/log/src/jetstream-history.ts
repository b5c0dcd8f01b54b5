import { isUlid } from '@carillon/wire';

import { LogError, type LastQuery, type LogPage, type StoredEvent } from './event-log.ts';
import { rememberedSeq } from './jetstream-ack.ts';
import { countAfter, JetStreamCursor } from './jetstream-cursor.ts';
import { messageOf, storedAt } from './jetstream-lookup.ts';
import { isExpired, type JetStreamReader } from './jetstream-reader.ts';
import { stateOf, type OpenStream } from './jetstream-stream.ts';
import { allOf, filtersOf, LOG_SUBJECTS, subjectOf } from './jetstream-subjects.ts';

/*
 * What JetStream cannot be asked: it reads forwards only, and knows ids only for its duplicate window.
 */
// The last events of rooms are looked for in a stretch before their end that grows until it holds enough of them, …
const STRETCH_FIRST = 256;
const STRETCH_FACTOR = 8;
// … and is cut in half again as long as it holds far too many.
const TOO_MANY_FACTOR = 8;
const TOO_MANY_FLOOR = 2_000;
const PAGE_EVENTS = 1_000;
const REPLICA_WAIT_MS = 500;
const REPLICA_TRIES = 10;
const PAGE_MAX_BYTES = 4 * 1024 * 1024;
// How far a sender's clock may be ahead of the servers' when an id tells its time.
const CLOCK_SKEW_MS = 3_600_000;
const ULID_DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const ULID_TIME_LENGTH = 10;

/** The last `count` events of the rooms, oldest first. */
export async function readLast(stream: OpenStream, reader: JetStreamReader, { workspaceId, rooms, count, maxBytes, before = Infinity }: LastQuery): Promise<LogPage> {
  const { state } = await stateOf(stream);
  const upTo = Math.max(0, Math.min(state.last_seq, before - 1));
  const none = { events: [], gaps: [], next: upTo, isLast: true } satisfies LogPage;
  const filters = filtersOf('log', workspaceId, rooms);
  const ends = await Promise.all(filters.map((filter) => messageOf(stream, { last_by_subj: filter })));
  const end = Math.min(upTo, Math.max(0, ...ends.map((message) => message?.seq ?? 0)));
  if (end === 0 || count <= 0) return none;
  for (let needed = count; ; needed *= TOO_MANY_FACTOR) {
    const after = await findStart(stream, { filters, end, needed, first: state.first_seq });
    const last = await lastOf(stream, reader, { query: { workspaceId, rooms, count, maxBytes }, after, end });
    // Too few although there is more before: what lay there was expired, or not wanted after all.
    if (last.events.length >= count || after < state.first_seq || last.isFull) return { ...none, events: last.events };
  }
}

/** A sequence from which on, up to `end`, lie at least `needed` messages of the filters, or all of them, and not many more. */
async function findStart(stream: OpenStream, { filters, end, needed, first }: { readonly filters: readonly string[]; readonly end: number; readonly needed: number; readonly first: number }): Promise<number> {
  const behindEnd = await countAfter(stream, filters, end);
  const countFrom = async (after: number): Promise<number> => (await countAfter(stream, filters, after)) - behindEnd;
  let enough = end;
  let tooFew = end;
  for (let stretch = Math.max(STRETCH_FIRST, needed); ; stretch *= STRETCH_FACTOR) {
    enough = Math.max(0, end - stretch);
    if (enough < first) enough = 0;
    const there = await countFrom(enough);
    if (there >= needed || enough === 0) {
      let many = there;
      while (many > Math.max(TOO_MANY_FLOOR, needed * TOO_MANY_FACTOR) && tooFew - enough > 1) {
        const middle = Math.floor((enough + tooFew) / 2);
        const behind = await countFrom(middle);
        if (behind >= needed) [enough, many] = [middle, behind];
        else tooFew = middle;
      }
      return enough;
    }
    tooFew = enough;
  }
}

/** The last events of a stretch, with memory for a few pages at most. */
async function lastOf(stream: OpenStream, reader: JetStreamReader, { query, after, end }: { readonly query: LastQuery; readonly after: number; readonly end: number }): Promise<Last> {
  let last: Last = { events: [], isFull: false };
  for (let from = after; ; ) {
    const page = await reader.page(stream, { workspaceId: query.workspaceId, rooms: query.rooms, after: from, upTo: end, maxEvents: PAGE_EVENTS, maxBytes: PAGE_MAX_BYTES });
    last = cut([...last.events, ...page.events], { ...query, wasFull: last.isFull });
    if (page.isLast) return last;
    from = page.next;
  }
}

const sizeOf = (event: StoredEvent): number => event.body.length + event.fields.length;

interface Last {
  readonly events: readonly StoredEvent[];
  /** Earlier ones were left out because of their bytes. */
  readonly isFull: boolean;
}

/** The latest events that fit, one at least. */
function cut(events: readonly StoredEvent[], { count, maxBytes, wasFull }: { readonly count: number; readonly maxBytes: number; readonly wasFull: boolean }): Last {
  const kept: StoredEvent[] = [];
  let byteCount = 0;
  for (const event of events.slice(-count).reverse()) {
    byteCount += sizeOf(event);
    if (kept.length > 0 && byteCount > maxBytes) return { events: kept.reverse(), isFull: true };
    kept.push(event);
  }
  return { events: kept.reverse(), isFull: wasFull };
}

/** The sequence before the first event that was stored at this time or later. */
export async function sequenceAt(stream: OpenStream, atMs: number): Promise<number> {
  const { state } = await stateOf(stream);
  const cursor = await JetStreamCursor.open(stream, { filters: [LOG_SUBJECTS], from: { atMs }, headersOnly: true });
  try {
    for (let waits = 0; waits <= REPLICA_TRIES; waits += 1) {
      const { messages } = await cursor.fetch({ maxEvents: 1, ...(waits > 0 ? { waitMs: REPLICA_WAIT_MS } : {}) });
      const [first] = messages;
      if (first !== undefined) return first.seq - 1;
      // A cursor may stand on a replica that is behind: the leader says whether there is one.
      const last = stream.replicas === 1 ? undefined : await messageOf(stream, { last_by_subj: LOG_SUBJECTS });
      if (last === undefined || last.storedAtMs < atMs) return state.last_seq;
    }
  } finally {
    cursor.close();
  }
  throw new LogError('LOG_UNAVAILABLE', 'A replica of the stream is behind the others and does not catch up.');
}

/** The event with this id. Within the duplicate window one request; later a reading of the workspace, for a ULID from its time on. */
export async function findEvent(stream: OpenStream, { workspaceId, id }: { readonly workspaceId: string; readonly id: string }): Promise<StoredEvent | undefined> {
  const messageId = `${workspaceId}/${id}`;
  const probe = subjectOf('log', workspaceId, 'find');
  for (let asked = messageId; ; ) {
    const seq = await rememberedSeq(stream, asked, probe);
    if (seq === undefined) break;
    const event = await storedAt(stream, seq);
    if (event !== undefined) return givable(event);
    // Deleted; it may have been stored again, under the name that this leaves.
    asked = `${messageId}~${seq}`;
  }
  return scanFor(stream, { workspaceId, id });
}

async function scanFor(stream: OpenStream, { workspaceId, id }: { readonly workspaceId: string; readonly id: string }): Promise<StoredEvent | undefined> {
  const wanted = `${workspaceId}/${id}`;
  const from = isUlid(id) ? { atMs: Math.max(0, ulidTimeMs(id) - CLOCK_SKEW_MS) } : { after: 0 };
  const cursor = await JetStreamCursor.open(stream, { filters: [allOf('log', workspaceId)], from, headersOnly: true });
  try {
    for (;;) {
      const { messages, end } = await cursor.fetch({ maxEvents: PAGE_EVENTS });
      const found = messages.find(({ message }) => message.headers?.get('Nats-Msg-Id').split('~')[0] === wanted);
      if (found !== undefined) {
        const event = await storedAt(stream, found.seq);
        return event === undefined ? undefined : givable(event);
      }
      if (end === 'all') return undefined;
    }
  } finally {
    cursor.close();
  }
}

const givable = (event: StoredEvent): StoredEvent | undefined => (isExpired(event, Date.now()) ? undefined : event);

function ulidTimeMs(id: string): number {
  return [...id.slice(0, ULID_TIME_LENGTH)].reduce((time, digit) => time * ULID_DIGITS.length + ULID_DIGITS.indexOf(digit), 0);
}
