import { LogError, type EventLog } from '@carillon/log';
import { ERRORS, isErrorCode } from '@carillon/wire';

import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';
import type { TrailFact, TrailLine } from './trail.ts';

/**
 * The journal of a workspace's trail: rooms of the log, one a kind of facts, since they are read in different ways; an entry is what
 * a hub noted within a quarter of a second, a line of JSON a fact.
 *
 *   note ──▶ waiting (bounded) ──flush──▶ entries ──append──▶ kept          the log is away: entries stay, and are tried again
 */
export type TrailPart = 'readers' | 'moments' | 'events';

const PARTS = ['readers', 'moments', 'events'] as const satisfies readonly TrailPart[];
const PART_OF: Readonly<Record<TrailFact['kind'], TrailPart>> = {
  reading: 'readers', read: 'readers', live: 'readers', behind: 'readers', ended: 'readers', gap: 'readers', missed: 'readers',
  delivered: 'moments', waits: 'moments', skipped: 'moments', untold: 'moments', late: 'moments', given: 'moments', lost: 'moments',
  refused: 'events', delayed: 'events', stored: 'events', attempt: 'events',
};

/** The room of the trail's workspace that a part is kept in. */
export const trailRoom = (workspaceId: string, part: TrailPart): string => (part === 'readers' ? workspaceId : `${workspaceId}/${part}`);

/** Facts of a workspace that may wait: a quarter of a second of 80,000 a second. */
export const WAITING_MAX_FACTS = 20_000;
/** Lists of patterns, connections and ids are what makes facts large. */
const WAITING_MAX_BYTES = 16_777_216;
const FACT_BYTES = 128;
/** So that reading a page of the journal costs nobody else more than a millisecond or two. */
const ENTRY_MAX_BYTES = 262_144;

/** Of all journals of a hub. */
export interface TrailCounts {
  kept: number;
  missed: number;
}

export interface TrailJournalOptions {
  readonly workspaceId: string;
  readonly hub: string;
  readonly log: Pick<EventLog, 'append'>;
  readonly nextId: () => string;
  /** Milliseconds since 1970; may step back. */
  readonly now: () => number;
  /** The largest event that the log takes. */
  readonly eventMaxBytes: number;
  readonly counts: TrailCounts;
}

interface Waiting {
  readonly at: number;
  readonly fact: TrailFact;
}

interface Entry {
  readonly part: TrailPart;
  readonly id: string;
  readonly body: Buffer;
  readonly facts: number;
  readonly bytes: number;
}

export class TrailJournal {
  readonly #options: TrailJournalOptions;
  #waiting: Waiting[] = [];
  #entries: Entry[] = [];
  /** Facts that wait or are in entries, and what they take. */
  #facts = 0;
  #bytes = 0;
  #missed = 0;
  #lastAt = 0;
  #flushing: Promise<void> | undefined = undefined;

  constructor(options: TrailJournalOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#facts === 0 && this.#missed === 0;
  }

  note(fact: TrailFact): void {
    const bytes = bytesOf(fact);
    if (this.#facts >= WAITING_MAX_FACTS || this.#bytes + bytes > WAITING_MAX_BYTES) return this.#miss(1);
    this.#facts += 1;
    this.#bytes += bytes;
    // Facts of one hub are told apart by their order, also when its clock steps back.
    this.#lastAt = Math.max(this.#lastAt, this.#options.now());
    this.#waiting.push({ at: this.#lastAt, fact });
  }

  /** Appends what waits; resolves when it is kept, or cannot be now. One at a time. */
  flush(): Promise<void> {
    return (this.#flushing ??= this.#write().finally(() => (this.#flushing = undefined)));
  }

  async #write(): Promise<void> {
    if (this.#entries.length === 0) this.#seal();
    for (let entry = this.#entries[0]; entry !== undefined; entry = this.#entries[0]) {
      const { part, id, body, facts, bytes } = entry;
      const { workspaceId, log, counts } = this.#options;
      try {
        await log.append({ workspaceId: SYSTEM_WORKSPACES.trail, room: trailRoom(workspaceId, part), id, atMs: this.#lastAt, fields: '', body });
        counts.kept += facts;
      } catch (error) {
        if (isWorthAnotherTry(error)) return;
        this.#miss(facts);
      }
      this.#entries.shift();
      this.#facts -= facts;
      this.#bytes -= bytes;
    }
  }

  #seal(): void {
    const missed = this.#missed;
    if (missed > 0) {
      this.#missed = 0;
      this.#facts += 1;
      this.#bytes += FACT_BYTES;
      this.#waiting.push({ at: this.#lastAt, fact: { kind: 'missed', facts: missed } });
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const part of PARTS) this.#sealPart(part, waiting.filter(({ fact }) => PART_OF[fact.kind] === part));
  }

  #sealPart(part: TrailPart, waiting: readonly Waiting[]): void {
    const { hub, nextId, eventMaxBytes } = this.#options;
    const maxBytes = Math.min(ENTRY_MAX_BYTES, eventMaxBytes);
    let lines: string[] = [];
    let length = 0;
    let bytes = 0;
    const seal = (): void => {
      if (lines.length > 0) this.#entries.push({ part, id: nextId(), body: Buffer.from(lines.join('')), facts: lines.length, bytes });
      [lines, length, bytes] = [[], 0, 0];
    };
    for (const { at, fact } of waiting) {
      const line = `${JSON.stringify({ at, hub, ...fact })}\n`;
      const lineLength = Buffer.byteLength(line);
      if (length + lineLength > maxBytes) seal();
      lines.push(line);
      length += lineLength;
      bytes += bytesOf(fact);
    }
    seal();
  }

  #miss(facts: number): void {
    this.#missed += facts;
    this.#options.counts.missed += facts;
  }
}

/** As a measure of memory: what else a fact names is short. */
function bytesOf(fact: TrailFact): number {
  const names = fact.kind === 'reading' ? fact.rooms : fact.kind === 'skipped' ? (fact.peers ?? []) : fact.kind === 'given' ? [fact.seqs ?? '', ...(fact.ids ?? [])] : [];
  return names.reduce((sum, name) => sum + name.length, FACT_BYTES);
}

function isWorthAnotherTry(error: unknown): boolean {
  return error instanceof LogError && isErrorCode(error.code) && ERRORS[error.code].retryable;
}

/** The facts of an entry that mention a text (all without one); lines of other versions are left out. */
export function readTrail(body: Uint8Array, mentions?: string): readonly TrailLine[] {
  const text = Buffer.from(body.buffer, body.byteOffset, body.length);
  if (mentions !== undefined && !text.includes(mentions)) return [];
  return text.toString('utf8').split('\n').flatMap((line) => (line === '' || (mentions !== undefined && !line.includes(mentions)) ? [] : (readLine(line) ?? [])));
}

function readLine(line: string): TrailLine | undefined {
  try {
    const fact = JSON.parse(line) as TrailLine;
    return Object.hasOwn(PART_OF, fact.kind) && typeof fact.at === 'number' && typeof fact.hub === 'string' ? fact : undefined;
  } catch {
    return undefined;
  }
}
