import { ALL_ROOMS, CarillonError, DEFAULT_LIMITS, formatSubscriptionChange, isAllPattern, patternFault } from '@carillon/wire';
import type { Asking } from './asking.ts';

const utf8 = new TextEncoder();
/** What `{"rooms":[],"create":false}` takes besides the rooms. */
const CHANGE_OVERHEAD_BYTES = 32;

/**
 * What a hub of the first protocol has to send: the union of all subscriptions, counted, against what this connection was told.
 * Once every room is wanted that one pattern stands for all others: an original hub sends an event twice to a messenger
 * that registered for both `*` and its room. A change adds before it drops, so that no event falls between.
 */
export class Interest implements Asking {
  readonly #counts = new Map<string, number>();
  readonly #atHub = new Set<string>();
  #touched = new Set<string>();
  #allDenied = false;

  /** The patterns that are wanted, each once; `**` counts as `*`. */
  get patterns(): readonly string[] {
    return [...this.#counts.keys()];
  }

  /** Code (thrown, nothing is added): SUBSCRIPTIONS_EXCEEDED. */
  add(patterns: readonly string[]): void {
    const fresh = patterns.filter((pattern) => !this.#counts.has(atHub(pattern))).length;
    if (this.#counts.size + fresh > DEFAULT_LIMITS.patternsMax) throw new CarillonError('SUBSCRIPTIONS_EXCEEDED', `more than ${DEFAULT_LIMITS.patternsMax} rooms`);
    for (const pattern of patterns.map(atHub)) {
      this.#counts.set(pattern, (this.#counts.get(pattern) ?? 0) + 1);
      this.#touched.add(pattern);
    }
  }

  release(patterns: readonly string[]): void {
    for (const pattern of patterns.map(atHub)) {
      const left = (this.#counts.get(pattern) ?? 0) - 1;
      if (left > 0) this.#counts.set(pattern, left);
      else this.#counts.delete(pattern);
      this.#touched.add(pattern);
    }
  }

  /** The connection is gone: the next hub knows nothing. */
  forget(): void {
    this.#allDenied = false;
    this.#atHub.clear();
    this.#touched = new Set(this.#counts.keys());
  }

  /** This hub is asked in another way: nothing is due to it. */
  skip(): void {
    this.#touched.clear();
  }

  /**
   * The hub denied a subscription. If `*` stands for all others there, they are asked for one by one on this connection;
   * says so. (v1 does not tell which pattern was denied; asking for the others is right whichever it was.)
   */
  denied(): boolean {
    if (!this.#atHub.delete(ALL_ROOMS)) return false;
    this.#allDenied = true;
    this.#touched = new Set(this.#counts.keys());
    return true;
  }

  /** Whether `changes` may have something to say. */
  get isPending(): boolean {
    return this.#touched.size > 0;
  }

  /** The text frames that tell the hub what changed since the last call. */
  changes(): string[] {
    const everything = this.#counts.has(ALL_ROOMS) && !this.#allDenied;
    const candidates = this.#touched.has(ALL_ROOMS) ? new Set([...this.#counts.keys(), ...this.#atHub]) : this.#touched;
    const added: string[] = [];
    const dropped: string[] = [];
    for (const pattern of candidates) {
      const wanted = everything ? pattern === ALL_ROOMS : this.#counts.has(pattern) && !(this.#allDenied && pattern === ALL_ROOMS);
      if (wanted === this.#atHub.has(pattern)) continue;
      (wanted ? added : dropped).push(pattern);
      if (wanted) this.#atHub.add(pattern);
      else this.#atHub.delete(pattern);
    }
    this.#touched = new Set();
    return [...frames(added, true), ...frames(dropped, false)];
  }
}

/** The rooms and patterns of one subscription, each once. Code (thrown): PATTERN_INVALID. */
export function validPatterns(rooms: string | readonly string[]): readonly string[] {
  const patterns = [...new Set(typeof rooms === 'string' ? [rooms] : rooms)];
  if (patterns.length === 0) throw new CarillonError('PATTERN_INVALID', 'no room');
  for (const pattern of patterns) {
    const fault = patternFault(pattern);
    if (fault !== undefined) throw new CarillonError('PATTERN_INVALID', fault);
  }
  return patterns;
}

const atHub = (pattern: string): string => (isAllPattern(pattern) ? ALL_ROOMS : pattern);

/** As few frames as the hub's bound on control frames allows. */
function frames(rooms: readonly string[], create: boolean): string[] {
  const texts: string[] = [];
  let chunk: string[] = [];
  let bytes = CHANGE_OVERHEAD_BYTES;
  for (const room of rooms) {
    const roomBytes = utf8.encode(JSON.stringify(room)).length + 1;
    if (chunk.length > 0 && bytes + roomBytes > DEFAULT_LIMITS.controlMaxBytes) {
      texts.push(formatSubscriptionChange({ rooms: chunk, create }));
      chunk = [];
      bytes = CHANGE_OVERHEAD_BYTES;
    }
    chunk.push(room);
    bytes += roomBytes;
  }
  if (chunk.length > 0) texts.push(formatSubscriptionChange({ rooms: chunk, create }));
  return texts;
}
