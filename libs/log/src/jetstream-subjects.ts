import { patternSubject, roomSubject } from '@carillon/wire';

import { LogError } from './event-log.ts';

/*
 *   carillon.1.<workspaceId>.log.<room tokens>    where events are stored
 *   carillon.1.<workspaceId>.tail.<room tokens>   where the stream says again what it has stored
 *   carillon.1.<workspaceId>.gone.<room tokens>   how far retention has deleted a room, in a small stream of its own
 *   carillon.1.<workspaceId>.due.<sequence>       when an event expires, there too
 */
const ROOT = 'carillon.1';
const ROOMS_CACHED_MAX = 50_000;
// More filters of one consumer cost the server more than reading what they would have left out.
const FILTERS_MAX = 64;

export const LOG_SUBJECTS = `${ROOT}.*.log.>`;
export const GONE_SUBJECTS = [`${ROOT}.*.gone.>`, `${ROOT}.*.due.*`] as const;
export const ALL_DUE = `${ROOT}.*.due.*`;
export const REPUBLISH = { src: LOG_SUBJECTS, dest: `${ROOT}.{{wildcard(1)}}.tail.>` } as const;

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Throws for what would break subjects, consumer names or headers: mistakes of the program, not of a peer. */
export function requireName(kind: string, name: string): void {
  if (!NAME.test(name)) throw new LogError('LOG_UNAVAILABLE', `A ${kind} is 1 to 64 characters of A-Z a-z 0-9 _ -, not ${JSON.stringify(name)}.`);
}

export type SubjectKind = 'log' | 'tail' | 'gone' | 'due';

/** The subject of a room. */
export const subjectOf = (kind: SubjectKind, workspaceId: string, room: string): string => `${ROOT}.${workspaceId}.${kind}.${roomSubject(room)}`;
export const filterOf = (kind: SubjectKind, workspaceId: string, pattern: string): string => `${ROOT}.${workspaceId}.${kind}.${patternSubject(pattern)}`;
export const dueSubject = (workspaceId: string, seq: number): string => `${ROOT}.${workspaceId}.due.${seq}`;
export const allOf = (kind: SubjectKind, workspaceId: string): string => `${ROOT}.${workspaceId}.${kind}.>`;

interface Place {
  readonly workspaceId: string;
  readonly room: string;
}

/** The tokens of rooms, which take longer to write than an event to send. */
export class LogSubjects {
  readonly #known = new Map<string, string>();

  of(workspaceId: string, room: string): string {
    const key = `${workspaceId}/${room}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    requireName('workspace id', workspaceId);
    if (this.#known.size >= ROOMS_CACHED_MAX) this.#known.clear();
    const subject = subjectOf('log', workspaceId, room);
    this.#known.set(key, subject);
    return subject;
  }
}

const places = new Map<string, Place>();

/** Workspace and room of a subject of any kind; undefined for one that no room has. */
export function parseLogSubject(subject: string): Place | undefined {
  const known = places.get(subject);
  if (known !== undefined) return known;
  const [root, version, workspaceId, , ...tokens] = subject.split('.');
  if (`${root}.${version}` !== ROOT || workspaceId === undefined || tokens.length === 0) return undefined;
  try {
    // Segments and separators in turn; a segment is escaped as in a URI, an empty one is a lone escape character.
    const room = tokens.map((token, index) => (index % 2 === 1 ? token : token === '%' ? '' : decodeURIComponent(token))).join('');
    if (places.size >= ROOMS_CACHED_MAX) places.clear();
    const place = { workspaceId, room };
    places.set(subject, place);
    return place;
  } catch {
    return undefined;
  }
}

/** Filters that cover the patterns and do not overlap, which a consumer's may not; wider than asked for where that cannot be had. */
export function filtersOf(kind: SubjectKind, workspaceId: string, patterns: readonly string[]): readonly string[] {
  const all = allOf(kind, workspaceId);
  let filters: string[] = [];
  for (const subject of new Set(patterns.map((pattern) => filterOf(kind, workspaceId, pattern)))) {
    let candidate = subject;
    for (;;) {
      const other = filters.find((filter) => overlap(filter, candidate));
      if (other === undefined) break;
      filters = filters.filter((filter) => filter !== other);
      candidate = covers(other, candidate) ? other : covers(candidate, other) ? candidate : commonHead(other, candidate);
    }
    filters.push(candidate);
    if (filters.length > FILTERS_MAX) return [all];
  }
  return filters;
}

/** Whether every subject that `filter` selects is selected by `wide`. */
export function covers(wide: string, filter: string): boolean {
  const wanted = wide.split('.');
  const given = filter.split('.');
  for (const [at, token] of wanted.entries()) {
    if (token === '>') return given.length > at;
    const other = given[at];
    if (other === undefined || other === '>' || (token !== '*' && token !== other)) return false;
  }
  return wanted.length === given.length;
}

function overlap(left: string, right: string): boolean {
  const lefts = left.split('.');
  const rights = right.split('.');
  for (let at = 0; ; at += 1) {
    const [one, other] = [lefts[at], rights[at]];
    if (one === undefined || other === undefined) return one === other;
    if (one === '>' || other === '>') return true;
    if (one !== '*' && other !== '*' && one !== other) return false;
  }
}

function commonHead(left: string, right: string): string {
  const rights = right.split('.');
  const head: string[] = [];
  for (const [at, token] of left.split('.').entries()) {
    if (token !== rights[at] || token === '>') break;
    head.push(token);
  }
  return [...head, '>'].join('.');
}
