import { matchesPattern } from '@carillon/wire';

import { isInRuns } from './trail-runs.ts';
import type { ReaderFact, ReaderKind, TrailLine } from './trail.ts';

/**
 * What became of one event at each reader, worked out from the facts around it:
 *
 *   reading after a < seq ──read, live, behind, ended up to seq, or delivered while live──▶ delivered
 *         │                 ──skipped, gap, ended before seq with what came up to it──────▶ skipped, with the reason
 *         └──none of these──▶ pending while its hub says that it lives, else unknown
 *
 * `delivered` means: handed to the connection. That the peer has it is known when its session comes back with a position behind it.
 */
export type Outcome = 'delivered' | 'skipped' | 'pending' | 'unknown';

export interface ReaderOutcome {
  readonly session: string;
  readonly key?: string | undefined;
  readonly how: ReaderKind;
  readonly hub: string;
  /** Those of its rooms and patterns that select the event's. */
  readonly rooms: readonly string[];
  readonly outcome: Outcome;
  readonly reason?: string | undefined;
  /** When that was noted, ms since 1970. */
  readonly at?: number | undefined;
  readonly confirmed?: true | undefined;
}

export interface TrailEvent {
  readonly id: string;
  readonly room: string;
  readonly seq: number;
  readonly from?: string | undefined;
  readonly origin: 'messenger' | 'repeater' | 'hub';
  readonly expiresAtMs?: number | undefined;
}

export interface OutcomeQuery {
  readonly event: TrailEvent;
  /** Of each hub in the order of `at`; facts of a moment behind those of readers. */
  readonly facts: readonly TrailLine[];
  /** Whether a hub has said lately that it lives. */
  readonly isAlive: (hub: string) => boolean;
  /** Whether it did when the event was stored: one that had died before it had nobody to give it to, whatever it had said of them. */
  readonly wasAlive: (hub: string) => boolean;
  /** Only readers of which one of these says something are told; default: all. */
  readonly about?: ReadonlySet<TrailLine>;
}

type Reading = Extract<ReaderFact, { readonly kind: 'reading' }>;

interface Reader {
  readonly fact: Reading;
  readonly hub: string;
  readonly rooms: readonly string[];
  after: number;
  isOpen: boolean;
  /** Live since this sequence. */
  live: number | undefined;
  /** Delivered to all who are live, but its lane had not taken it yet. */
  isDue: boolean;
  decided: { readonly outcome: Outcome; readonly reason?: string | undefined; readonly at: number | undefined; readonly byEnd?: boolean } | undefined;
  isAbout: boolean;
}

const RANK: Readonly<Record<Outcome, number>> = { delivered: 3, pending: 2, unknown: 1, skipped: 0 };

export function outcomesOf(query: OutcomeQuery): readonly ReaderOutcome[] {
  const replay = new Replay(query);
  for (const fact of query.facts) replay.take(fact);
  return merged(replay.outcomes());
}

class Replay {
  readonly #query: OutcomeQuery;
  readonly #readers = new Map<string, Reader>();
  /** Of connections with something waiting: up to where they have taken. */
  readonly #waits = new Map<string, number>();
  readonly #given = new Map<string, ReaderOutcome>();
  /** Sessions that came back with a position behind the event. */
  readonly #confirmed = new Set<string>();

  constructor(query: OutcomeQuery) {
    this.#query = query;
  }

  take(fact: TrailLine): void {
    const { event } = this.#query;
    const reader = 'reader' in fact && fact.reader !== undefined ? this.#readers.get(fact.reader) : undefined;
    if (reader !== undefined && this.#isAbout(fact)) reader.isAbout = true;
    switch (fact.kind) {
      case 'reading':
        return this.#reading(fact, reader);
      case 'read':
      case 'behind':
        if (reader !== undefined) this.#reach(reader, fact.upTo, fact.at);
        if (reader !== undefined && fact.kind === 'behind') reader.live = undefined;
        return;
      case 'live':
        if (reader === undefined) return;
        this.#reach(reader, fact.seq, fact.at);
        reader.live = fact.seq;
        return;
      case 'ended':
        return reader === undefined ? undefined : this.#ended(reader, fact);
      case 'gap':
        if (reader !== undefined && reader.decided === undefined && isWithin(event.seq, fact)) reader.decided = { outcome: 'skipped', reason: this.#goneReason(fact), at: fact.at };
        return;
      case 'skipped':
        if (fact.room !== event.room || !isWithin(event.seq, fact)) return;
        for (const each of fact.reader === undefined ? this.#of(fact.peers ?? []) : [reader]) if (each !== undefined && each.after < event.seq) each.decided = { outcome: 'skipped', reason: fact.reason, at: fact.at };
        return;
      case 'untold':
        return this.#untold(fact);
      case 'late':
        if (fact.seq !== event.seq) return;
        for (const each of this.#readers.values()) if (each.hub === fact.hub && !each.isOpen && each.decided?.byEnd === true) each.decided = { outcome: 'unknown', reason: 'late', at: fact.at };
        return;
      case 'delivered':
        return fact.certain < event.seq ? undefined : this.#delivered(fact);
      case 'waits':
        return this.#waiting(fact);
      case 'given':
      case 'lost':
        return this.#repeater(fact);
      default:
        return;
    }
  }

  *outcomes(): Generator<ReaderOutcome> {
    const { event, isAlive, wasAlive, about } = this.#query;
    for (const { fact, hub, rooms, after, isOpen, decided, isAbout } of this.#readers.values()) {
      if (after >= event.seq || (decided === undefined && !(isOpen && wasAlive(hub))) || (about !== undefined && !isAbout)) continue;
      const { session, key, how, echo } = fact;
      const isOwn = decided?.outcome === 'delivered' && echo !== true && (how === 'session' || how === 'v1') && event.from === session;
      const { outcome, reason, at } = isOwn ? { ...decided, outcome: 'skipped', reason: 'own' } as const : (decided ?? (isAlive(hub) ? { outcome: 'pending', reason: undefined, at: undefined } as const : { outcome: 'unknown', reason: 'hub-silent', at: undefined } as const));
      const isConfirmed = outcome !== 'skipped' && this.#confirmed.has(identityOf(fact));
      yield { session, key, how, hub, rooms, outcome: isConfirmed ? 'delivered' : outcome, reason: isConfirmed ? undefined : reason, at, ...(isConfirmed ? { confirmed: true } : {}) };
    }
    yield* this.#given.values();
  }

  #isAbout(fact: TrailLine): boolean {
    return this.#query.about?.has(fact) === true;
  }

  *#of(peers: readonly string[]): Generator<Reader> {
    for (const reader of this.#readers.values()) if (peers.includes(reader.fact.peer)) yield reader;
  }

  #reading(fact: Reading & { readonly at: number; readonly hub: string }, known: Reader | undefined): void {
    const { event } = this.#query;
    const rooms = fact.rooms.filter((pattern) => matchesPattern(pattern, event.room));
    // What came over a hub link goes to no other.
    if (rooms.length === 0 || (fact.how === 'link' && event.origin === 'hub')) return;
    if (fact.since !== undefined && fact.since >= event.seq) this.#confirmed.add(identityOf(fact));
    const reader = known ?? { fact, hub: fact.hub, rooms, after: fact.after, isOpen: true, live: undefined, isDue: false, decided: undefined, isAbout: this.#isAbout(fact) };
    this.#readers.set(fact.reader, reader);
    if (fact.live !== undefined) reader.live = fact.live;
    // Of one that was there long before, what it had by then is known without a time.
    this.#reach(reader, fact.live ?? fact.read ?? fact.after, fact.again === true ? undefined : fact.at);
  }

  #reach(reader: Reader, upTo: number, at: number | undefined): void {
    const { seq } = this.#query.event;
    if (reader.decided === undefined && reader.after < seq && seq <= upTo) reader.decided = { outcome: 'delivered', at };
  }

  #ended(reader: Reader, { upTo, to, reason, at }: { readonly upTo: number; readonly to: number; readonly reason: string; readonly at: number }): void {
    const { seq } = this.#query.event;
    reader.isOpen = false;
    if (reader.after >= seq || seq > to || (reader.decided !== undefined && reader.decided.byEnd !== true)) return;
    reader.decided = seq <= upTo ? { outcome: 'delivered', at, byEnd: true } : { outcome: 'skipped', reason, at, byEnd: true };
  }

  /** A tail that had a hole: who only hears it got nothing of what was gone, and of a wide hole nobody knows. */
  #untold(fact: Extract<TrailLine, { readonly kind: 'untold' }>): void {
    if (!isWithin(this.#query.event.seq, fact)) return;
    const isExact = fact.from === fact.to;
    for (const reader of this.#readers.values()) {
      if (reader.hub !== fact.hub || (reader.fact.how !== 'v1' && reader.fact.how !== 'link') || reader.live === undefined || reader.after >= this.#query.event.seq) continue;
      reader.decided = { outcome: isExact ? 'skipped' : 'unknown', reason: this.#goneReason(fact), at: fact.at };
    }
  }

  #delivered({ hub, at }: { readonly hub: string; readonly at: number }): void {
    const { seq } = this.#query.event;
    for (const reader of this.#readers.values()) {
      if (reader.hub !== hub || !reader.isOpen || reader.live === undefined || reader.decided !== undefined || reader.after >= seq) continue;
      if ((this.#waits.get(reader.fact.peer) ?? seq) < seq) reader.isDue = true;
      else reader.decided = { outcome: 'delivered', at };
    }
  }

  #waiting({ peer, upTo, at }: { readonly peer: string; readonly upTo: number | null; readonly at: number }): void {
    if (upTo === null) this.#waits.delete(peer);
    else this.#waits.set(peer, upTo);
    if (upTo !== null && upTo < this.#query.event.seq) return;
    for (const reader of this.#of([peer])) {
      if (!reader.isDue) continue;
      reader.isDue = false;
      reader.decided ??= { outcome: 'delivered', at };
    }
  }

  #repeater(fact: Extract<TrailLine, { readonly kind: 'given' | 'lost' }>): void {
    const { event, about } = this.#query;
    const known = this.#given.get(fact.peer);
    if (fact.kind === 'lost') {
      if (known !== undefined && event.seq > fact.upTo) this.#given.set(fact.peer, { ...known, outcome: 'unknown', reason: fact.reason, at: fact.at });
      return;
    }
    const isGiven = fact.ids?.includes(event.id) === true || (fact.seqs !== undefined && isInRuns(fact.seqs, event.seq));
    const { session, key, hub, at, peer } = fact;
    if (isGiven && (about === undefined || about.has(fact))) this.#given.set(peer, { session, key, how: 'repeater', hub, rooms: [event.room], outcome: 'delivered', at });
  }

  #goneReason({ reason, at }: { readonly reason: string; readonly at: number }): string {
    const { expiresAtMs } = this.#query.event;
    return expiresAtMs !== undefined && expiresAtMs <= at ? 'expired' : reason;
  }
}

const isWithin = (seq: number, { from, to }: { readonly from: number; readonly to: number }): boolean => from <= seq && seq <= to;

const identityOf = ({ session, key = '' }: { readonly session: string; readonly key?: string | undefined }): string => `${key} ${session}`;

/** A session is one reader, however many of its subscriptions want the room and wherever it was connected: the best that became of it counts. */
function merged(outcomes: Iterable<ReaderOutcome>): readonly ReaderOutcome[] {
  const all = new Map<string, ReaderOutcome>();
  for (const outcome of outcomes) {
    const identity = `${outcome.how} ${identityOf(outcome)}`;
    const other = all.get(identity);
    if (other === undefined) {
      all.set(identity, outcome);
      continue;
    }
    const better = RANK[outcome.outcome] >= RANK[other.outcome] ? outcome : other;
    const isConfirmed = outcome.confirmed === true || other.confirmed === true;
    all.set(identity, { ...better, rooms: [...new Set([...other.rooms, ...outcome.rooms])], ...(isConfirmed ? { confirmed: true } : {}) });
  }
  return [...all.values()];
}
