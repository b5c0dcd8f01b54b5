import type { EventLog, LogPage, StoredEvent } from '@carillon/log';
import { isUlid } from '@carillon/wire';

import type { PageTurns } from '../durable/page-turns.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';
import { readTrail, trailRoom, type TrailPart } from './trail-journal.ts';
import { AGAIN_MS } from './trail-workspace.ts';
import type { EventFact, TrailLine } from './trail.ts';

/** Reads what a trail is made of. Every search has a bound; what lies beyond is the next call's. */
export interface SearchOptions {
  readonly log: EventLog;
  readonly workspaceId: string;
  readonly turns: PageTurns;
  /** Entries of the journal that a search which can be gone on with reads at the most. */
  readonly maxEntries: number;
}

/** What every search reads at the most: a few tenths of a second at worst, in pages. */
export const ENTRIES_MAX = 2_000;
const SEARCH_MAX_BYTES = 8_388_608;
const PAGE_EVENTS = 500;
const PAGE_BYTES = 1_048_576;
/** Hubs and the log notice a second with some delay. */
const SLACK_MS = 30_000;
/** What is noted of a moment is noted this soon after it. */
const MOMENT_MS = 60_000;
const SIGNS = 128;
/** A hub with readers says every three seconds that it lives. */
export const ALIVE_MS = 10_000;
/** How far the clock of whoever made an id may be off, and an event may be held up by its sender. */
const ID_EARLY_MS = 60_000;
const ID_LATE_MS = 600_000;

export interface Found {
  readonly facts: readonly TrailLine[];
  /** Up to where, or from where backwards, it has read. */
  readonly at: number;
  /** There is nothing more that way. */
  readonly isLast: boolean;
  /** Some of it is past retention, or beyond the bound. */
  readonly isCut?: boolean;
}

export class TrailSearch {
  readonly #options: SearchOptions;

  constructor(options: SearchOptions) {
    this.#options = options;
  }

  /** Facts of readers that were there at a sequence: each is noted once within `AGAIN_MS`. */
  async before(seq: number): Promise<Found> {
    const entries: StoredEvent[] = [];
    const budget = new Budget(ENTRIES_MAX);
    let at = seq + 1;
    let earliestMs: number | undefined;
    for (;;) {
      const { events } = await this.#last('readers', at, PAGE_EVENTS);
      budget.spend(events);
      const enoughMs = (earliestMs ??= (events.at(-1)?.storedAtMs ?? 0) - AGAIN_MS - SLACK_MS);
      const near = events.filter(({ storedAtMs }) => storedAtMs >= enoughMs);
      entries.unshift(...near);
      at = events[0]?.seq ?? 0;
      const isAll = at === 0 || near.length < events.length;
      if (isAll || budget.isSpent) return { facts: entries.flatMap(({ body }) => readTrail(body)), at, isLast: isAll, isCut: !isAll };
    }
  }

  /** What was noted of an event shortly before it was stored: that it was refused, or had to wait. */
  async shortlyBefore(seq: number, id: string): Promise<readonly EventLine[]> {
    const { events } = await this.#last('events', seq, PAGE_EVENTS);
    return events.flatMap(({ body, seq: entry }) => linesOf(body, { id, entry }));
  }

  /** What was noted of readers and of an event after a position. */
  async after(seq: number, id: string): Promise<Found> {
    const { workspaceId, maxEntries } = this.#options;
    const rooms = [trailRoom(workspaceId, 'readers'), trailRoom(workspaceId, 'events')];
    const facts: TrailLine[] = [];
    const budget = new Budget(maxEntries);
    let at = seq;
    let isCut = false;
    for (;;) {
      const page = await this.#page(rooms, at);
      facts.push(...page.events.flatMap(({ room, body }) => (room === rooms[0] ? readTrail(body) : ofEvent(readTrail(body, id), id))));
      isCut ||= page.gaps.length > 0;
      budget.spend(page.events);
      at = page.next;
      if (page.isLast || budget.isSpent) return { facts, at, isLast: page.isLast, isCut };
    }
  }

  /** What was noted of the moment after a sequence that was stored then. */
  async moment(seq: number, storedAtMs: number): Promise<Found> {
    const rooms = [trailRoom(this.#options.workspaceId, 'moments')];
    const facts: TrailLine[] = [];
    const budget = new Budget(ENTRIES_MAX);
    let at = seq;
    for (;;) {
      const page = await this.#page(rooms, at, PAGE_EVENTS);
      const near = page.events.filter((entry) => entry.storedAtMs <= storedAtMs + MOMENT_MS);
      facts.push(...near.flatMap(({ body }) => readTrail(body)));
      budget.spend(page.events);
      at = page.next;
      const isAll = page.isLast || near.length < page.events.length;
      if (isAll || budget.isSpent) return { facts, at, isLast: isAll, isCut: !isAll || page.gaps.length > 0 };
    }
  }

  /** Hubs that were heard of shortly before a sequence that was stored then. */
  async hubsBefore(seq: number, storedAtMs: number): Promise<readonly string[]> {
    const { events } = await this.#last('moments', seq, SIGNS);
    return events.filter((entry) => entry.storedAtMs >= storedAtMs - ALIVE_MS).flatMap(({ body }) => readTrail(body).map(({ hub }) => hub));
  }

  /** When each hub was last heard of, by the log's clock. */
  async signs(): Promise<ReadonlyMap<string, number>> {
    const { events } = await this.#last('moments', undefined, SIGNS);
    return new Map(events.flatMap(({ body, storedAtMs }) => [...new Set(readTrail(body).map(({ hub }) => hub))].map((hub) => [hub, storedAtMs] as const)));
  }

  /** Facts of an event that the log does not have, where its id says that it was made. */
  async byTime(id: string): Promise<readonly EventLine[]> {
    if (!isUlid(id)) return [];
    const madeAtMs = timeOf(id);
    const { log, workspaceId, maxEntries } = this.#options;
    const rooms = [trailRoom(workspaceId, 'events')];
    const budget = new Budget(maxEntries);
    let at = await log.sequenceAt(Math.max(0, madeAtMs - ID_EARLY_MS));
    for (;;) {
      const page = await this.#page(rooms, at);
      const facts = page.events.flatMap(({ body, seq }) => linesOf(body, { id, entry: seq }));
      if (facts.length > 0) return facts;
      budget.spend(page.events);
      at = page.next;
      if (page.isLast || budget.isSpent || (page.events.at(-1)?.storedAtMs ?? 0) > madeAtMs + ID_LATE_MS) return [];
    }
  }

  /** The same from the end of the journal backwards, or from a position. */
  async backwards(id: string, before?: number): Promise<{ readonly facts: readonly EventLine[]; readonly at: number; readonly isLast: boolean }> {
    const budget = new Budget(this.#options.maxEntries);
    let at = before;
    for (;;) {
      const { events } = await this.#last('events', at);
      budget.spend(events);
      const facts = events.flatMap(({ body, seq }) => linesOf(body, { id, entry: seq }));
      at = events[0]?.seq ?? 0;
      if (facts.length > 0 || at === 0 || budget.isSpent) return { facts, at, isLast: at === 0 };
    }
  }

  /** The facts of an event in one entry. */
  async entry(id: string, seq: number): Promise<readonly EventLine[]> {
    const { events } = await this.#last('events', seq + 1, 1);
    return events.filter((entry) => entry.seq === seq).flatMap(({ body }) => linesOf(body, { id, entry: seq }));
  }

  async #page(rooms: readonly string[], after: number, maxEvents = this.#pageEvents): Promise<LogPage> {
    const { log, turns } = this.#options;
    await turns.next();
    return log.read({ workspaceId: SYSTEM_WORKSPACES.trail, rooms, after, maxEvents, maxBytes: PAGE_BYTES });
  }

  async #last(part: TrailPart, before: number | undefined, count = this.#pageEvents): Promise<LogPage> {
    const { log, workspaceId, turns } = this.#options;
    await turns.next();
    return log.readLast({ workspaceId: SYSTEM_WORKSPACES.trail, rooms: [trailRoom(workspaceId, part)], count, maxBytes: PAGE_BYTES, ...(before === undefined ? {} : { before }) });
  }

  get #pageEvents(): number {
    return Math.min(PAGE_EVENTS, this.#options.maxEntries);
  }
}

/** What one search may read. */
class Budget {
  #entries: number;
  #bytes = SEARCH_MAX_BYTES;

  constructor(entries: number) {
    this.#entries = entries;
  }

  get isSpent(): boolean {
    return this.#entries <= 0 || this.#bytes <= 0;
  }

  spend(entries: readonly StoredEvent[]): void {
    this.#entries -= entries.length;
    this.#bytes -= entries.reduce((sum, { body }) => sum + body.length, 0);
  }
}

/** A fact of an event, and the entry of the journal that has it. */
export type EventLine = EventFact & { readonly at: number; readonly hub: string; readonly entry: number };

function linesOf(body: Uint8Array, { id, entry }: { readonly id: string; readonly entry: number }): EventLine[] {
  return ofEvent(readTrail(body, id), id).map((fact) => ({ ...fact, entry }));
}

/** A line may mention an id without being about it. */
function ofEvent(facts: readonly TrailLine[], id: string): (EventFact & { readonly at: number; readonly hub: string })[] {
  return facts.flatMap((fact) => ('id' in fact && fact.id === id ? [fact] : []));
}

const ULID_DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const ULID_TIME_LENGTH = 10;

/** The time in a ULID, ms since 1970. */
function timeOf(id: string): number {
  return [...id.slice(0, ULID_TIME_LENGTH)].reduce((time, digit) => time * ULID_DIGITS.length + ULID_DIGITS.indexOf(digit), 0);
}
