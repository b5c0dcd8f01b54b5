import type { ControlFrame, ErrorCode } from '@carillon/wire';

import { LastSeen } from './last-seen.ts';
import type { PresenceFact } from './presence-facts.ts';

/** Somebody as watchers are shown him: since when, or when last seen, in ms since 1970. */
export type Present = NonNullable<Extract<ControlFrame, { readonly op: 'presence' }>['joined']>[number];

/**
 * Who is in the rooms of one workspace, as its facts say it in the log's order. It knows no clock and no hub of its own: hubs that
 * have read the same show the same, and which of two that want one name has it is decided here.
 *
 * A member is one `enter` of one connection. Members of one name and owner are one person, who is there as long as one of
 * them is; what others are shown is what the last to enter brought.
 */
export interface Person extends Present {
  readonly owner: string;
  readonly members: Set<string>;
}

interface Member {
  readonly room: string;
  readonly name: string;
  readonly hub: string;
}

interface HubTrace {
  /** Of the last that it said. */
  seq: number;
  storedAtMs: number;
  atMs: number;
  readonly members: Set<string>;
}

/** Members of a room, and of a workspace, of all hubs together. */
export const ROOM_MEMBERS_MAX = 5_000;
const WORKSPACE_MEMBERS_MAX = 50_000;

/** Where a fact is in the log. */
export interface FactPlace {
  readonly seq: number;
  readonly storedAtMs: number;
}

/** What became of a fact: nobody enters by one that was refused. */
export type FactOutcome = 'taken' | 'void' | Extract<ErrorCode, 'PRESENCE_NAME_IN_USE' | 'PRESENCE_EXCEEDED'>;

/** A hub of which nothing has been heard for a while, and somebody is there by it. */
export interface SilentHub {
  readonly hub: string;
  readonly seq: number;
  readonly atMs: number;
}

export class PresenceFold {
  readonly #changed: (room: string, name: string, atMs: number) => void;
  readonly #rooms = new Map<string, { readonly people: Map<string, Person>; members: number }>();
  readonly #members = new Map<string, Member>();
  readonly #hubs = new Map<string, HubTrace>();
  readonly #lastSeen = new LastSeen();

  /** `changed`: somebody of this name came, left, or shows something else. */
  constructor(changed: (room: string, name: string, atMs: number) => void) {
    this.#changed = changed;
  }

  get members(): number {
    return this.#members.size;
  }

  has(member: string): boolean {
    return this.#members.has(member);
  }

  membersOf(hub: string): ReadonlySet<string> {
    return this.#hubs.get(hub)?.members ?? NO_MEMBERS;
  }

  /** Who is there, in the order in which they came. */
  people(room: string): ReadonlyMap<string, Person> {
    return this.#rooms.get(room)?.people ?? NO_PEOPLE;
  }

  /** Who was there lately, and when last seen. */
  lastSeen(room: string): ReadonlyMap<string, number> {
    return this.#lastSeen.of(room);
  }

  /** Hubs that are not heard of since before a time of the log. */
  *silent(beforeMs: number): Generator<SilentHub> {
    for (const [hub, { seq, storedAtMs, atMs }] of this.#hubs) if (storedAtMs < beforeMs) yield { hub, seq, atMs };
  }

  apply(fact: PresenceFact, { seq, storedAtMs }: FactPlace): FactOutcome {
    if (fact.type === 'gone') return this.#gone(fact);
    const outcome = this.#takes(fact);
    const trace = this.#hubs.get(fact.hub);
    if (trace !== undefined) Object.assign(trace, { seq, storedAtMs, atMs: Math.max(trace.atMs, fact.atMs) });
    return outcome;
  }

  #takes(fact: Exclude<PresenceFact, { readonly type: 'gone' }>): FactOutcome {
    switch (fact.type) {
      case 'entered':
        return this.#entered(fact);
      case 'left':
        return this.#left(fact.member, fact.atMs) ? 'taken' : 'void';
      case 'beat':
        return 'taken';
      default:
        return fact satisfies never;
    }
  }

  #entered({ hub, member, room, name, owner, data, atMs }: Extract<PresenceFact, { readonly type: 'entered' }>): FactOutcome {
    if (this.#members.has(member)) return 'taken';
    const known = this.#rooms.get(room);
    const person = known?.people.get(name);
    if (person !== undefined && person.owner !== owner) return 'PRESENCE_NAME_IN_USE';
    if ((known?.members ?? 0) >= ROOM_MEMBERS_MAX || this.#members.size >= WORKSPACE_MEMBERS_MAX) return 'PRESENCE_EXCEEDED';
    const here = known ?? { people: new Map<string, Person>(), members: 0 };
    this.#rooms.set(room, here);
    here.members += 1;
    const members = person?.members ?? new Set();
    here.people.set(name, { name, at: person?.at ?? atMs, owner, members: members.add(member), ...(data === undefined ? {} : { data }) });
    this.#members.set(member, { room, name, hub });
    const trace = this.#hubs.get(hub);
    if (trace === undefined) this.#hubs.set(hub, { seq: 0, storedAtMs: 0, atMs, members: new Set([member]) });
    else trace.members.add(member);
    this.#lastSeen.delete(room, name);
    if (person === undefined || person.data !== data) this.#changed(room, name, atMs);
    return 'taken';
  }

  /** False when it was not there. */
  #left(member: string, atMs: number): boolean {
    const { room = '', name = '', hub = '' } = this.#members.get(member) ?? {};
    const here = this.#rooms.get(room);
    if (!this.#members.delete(member) || here === undefined) return false;
    const trace = this.#hubs.get(hub);
    trace?.members.delete(member);
    if (trace?.members.size === 0) this.#hubs.delete(hub);
    here.members -= 1;
    if (here.members === 0) this.#rooms.delete(room);
    const person = here.people.get(name);
    person?.members.delete(member);
    if (person === undefined || person.members.size > 0) return true;
    here.people.delete(name);
    this.#lastSeen.set(room, name, atMs);
    this.#changed(room, name, atMs);
    return true;
  }

  #gone({ hub, seq, atMs }: Extract<PresenceFact, { readonly type: 'gone' }>): FactOutcome {
    const trace = this.#hubs.get(hub);
    if (trace === undefined || trace.seq > seq) return 'void';
    for (const member of [...trace.members]) this.#left(member, atMs);
    return 'taken';
  }
}

const NO_MEMBERS: ReadonlySet<string> = new Set();
const NO_PEOPLE: ReadonlyMap<string, Person> = new Map();
