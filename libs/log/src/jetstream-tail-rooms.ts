import { matchesPattern } from '@carillon/wire';

import { parseLogSubject } from './jetstream-subjects.ts';

// Rooms whose last sequence is kept before a reading makes certain that they may be forgotten.
const ROOMS_MAX = 100_000;

/**
 * What a tail wants and how far it has got in each room. A pattern counts from the sequence at which it came into force (its
 * base); what a room is known to have got is the last sequence given, or the earliest base of the patterns that want it.
 */
export class TailRooms {
  readonly #bases = new Map<string, number>();
  readonly #given = new Map<string, number>();
  /** The bases of a subject's patterns in order; empty: not wanted. */
  readonly #wanted = new Map<string, number | undefined>();
  #certain = 0;

  get patterns(): readonly string[] {
    return [...this.#bases.keys()];
  }

  get earliestBase(): number {
    return Math.min(...this.#bases.values());
  }

  /** More rooms than are kept: a reading of everything is due. */
  get isCrowded(): boolean {
    return this.#given.size > ROOMS_MAX;
  }

  add(pattern: string, base: number): void {
    if (this.#bases.has(pattern)) return;
    this.#bases.set(pattern, base);
    this.#wanted.clear();
  }

  remove(pattern: string): void {
    if (this.#bases.delete(pattern)) this.#wanted.clear();
  }

  /** The sequence up to which a subject's room needs nothing more; undefined: an event at `seq` is not wanted. */
  knownOf(subject: string, seq: number): number | undefined {
    const base = this.#baseOf(subject);
    if (base === undefined || base >= seq) return undefined;
    return Math.max(base, this.#certain, this.#given.get(subject) ?? 0);
  }

  /** 0: none since it is wanted. */
  givenOf(subject: string): number {
    return this.#given.get(subject) ?? 0;
  }

  gave(subject: string, seq: number): void {
    this.#given.set(subject, Math.max(seq, this.#given.get(subject) ?? 0));
  }

  /** Everything up to a sequence was read: rooms that have got no further need not be remembered when there are many. */
  certainUpTo(seq: number): void {
    if (!this.isCrowded) return;
    this.#certain = Math.max(this.#certain, seq);
    for (const [subject, given] of this.#given) if (given <= seq) this.#given.delete(subject);
    this.#wanted.clear();
  }

  /** The log began again: every event of it is wanted. */
  beginAnew(): void {
    for (const pattern of this.#bases.keys()) this.#bases.set(pattern, 0);
    this.#given.clear();
    this.#wanted.clear();
    this.#certain = 0;
  }

  #baseOf(subject: string): number | undefined {
    if (this.#wanted.has(subject)) return this.#wanted.get(subject);
    const room = parseLogSubject(subject)?.room ?? '';
    let base: number | undefined;
    for (const [pattern, from] of this.#bases) {
      if (pattern === room || matchesPattern(pattern, room)) base = Math.min(base ?? from, from);
    }
    if (this.#wanted.size > ROOMS_MAX) this.#wanted.clear();
    this.#wanted.set(subject, base);
    return base;
  }
}
