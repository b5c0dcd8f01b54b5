import { LogError, type EventLog } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import { ERRORS, type ErrorCode } from '@carillon/wire';

import { logErrorCode } from '../durable/durable-lane.ts';
import { factEvent, type PresenceFact } from './presence-facts.ts';
import type { FactOutcome, PresenceFold } from './presence-fold.ts';

/**
 * The members that came in at this hub, and what it says of them. A member is there when its `entered` was read from the log,
 * and gone when its `left` was:
 *
 *   entering ──entered──▶ there ──ended──▶ leaving ──left──▶ forgotten
 *       └──refused, or not stored in time──▶ forgotten, and told
 */
export interface Entering {
  readonly room: string;
  readonly name: string;
  readonly owner: string;
  readonly data: string | undefined;
}

export interface EnterTold {
  entered(): void;
  /** It is not there, or not any more. */
  ended(code: ErrorCode): void;
}

export interface OwnMembersOptions {
  readonly workspaceId: string;
  readonly hubId: string;
  readonly log: EventLog;
  readonly logger: Logger;
  readonly nextId: () => string;
  readonly now: () => number;
  /** The log did not take something. */
  readonly troubled: () => void;
}

interface Own {
  readonly member: string;
  readonly entering: Entering;
  readonly told: EnterTold;
  readonly atMs: number;
  /** By a clock that does not go back. */
  readonly giveUpAtMs: number;
  leftAtMs: number | undefined;
  hasEntered: boolean;
  /** Its `entered` may be in the log. */
  isSaid: boolean;
  /** The tick at which its `entered` was said last. */
  saidTick: number;
  /** The first tick at which something may be said of it again. */
  quietUntilTick: number;
}

/** Members that came in at one hub, those that are leaving among them. */
const OWN_MAX = 50_000;
/** How long somebody who comes in waits for the log. */
const ENTER_MAX_MS = 10_000;
/** A beat is of no use when it is old; one a minute is kept, so that "last seen" is known of a hub that died when nobody was there to tell. */
const BEAT_TTL_MS = 120_000;
const KEPT_BEAT_TICKS = 30;
/** What was said is read back within a tick. */
const QUIET_TICKS = 2;
/** Ticks after which `entered` is said again: six hours, well before retention takes the first. */
const REPEAT_TICKS = 10_800;

export class OwnMembers {
  readonly #options: OwnMembersOptions;
  readonly #all = new Map<string, Own>();
  #fold: PresenceFold | undefined = undefined;
  #made = 0;
  #ticks = 0;

  constructor(options: OwnMembersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#all.size;
  }

  /** The answer has it leave. */
  add(entering: Entering, told: EnterTold): (() => void) | 'PRESENCE_EXCEEDED' {
    if (this.#all.size >= OWN_MAX) return 'PRESENCE_EXCEEDED';
    this.#made += 1;
    const own: Own = {
      member: `${this.#options.hubId}-${this.#made.toString(36)}`, entering, told, atMs: this.#options.now(), giveUpAtMs: performance.now() + ENTER_MAX_MS,
      leftAtMs: undefined, hasEntered: false, isSaid: false, saidTick: 0, quietUntilTick: 0,
    };
    this.#all.set(own.member, own);
    this.#settle(own);
    return () => {
      if (own.leftAtMs !== undefined || !this.#all.has(own.member)) return;
      own.leftAtMs = this.#options.now();
      // Also when it was not read yet that it came in: what is said first is stored first.
      if (own.isSaid) this.#tell(own);
      else this.#all.delete(own.member);
    };
  }

  beat(): void {
    const atMs = this.#options.now();
    void this.#append({ type: 'beat', hub: this.#options.hubId, atMs }, this.#ticks % KEPT_BEAT_TICKS === 0 ? {} : { ttlMs: BEAT_TTL_MS });
  }

  /** Says something that needs no answer. */
  say(fact: PresenceFact, id: string): void {
    void this.#append(fact, { id });
  }

  /** Who is there by the log from now on; undefined while that is not known. */
  follow(fold: PresenceFold | undefined): void {
    this.#fold = fold;
    this.#compareAll();
  }

  /** A fact of this hub was read from the log. */
  heard(fact: PresenceFact, outcome: FactOutcome): void {
    if (fact.type === 'gone') return this.#sayAllAgain();
    if (fact.type === 'beat') return;
    const own = this.#all.get(fact.member);
    if (own === undefined) return this.#leaveStray(fact.member);
    if (fact.type === 'entered' && outcome !== 'taken' && outcome !== 'void') return this.#end(own, outcome);
    own.quietUntilTick = 0;
    this.#settle(own);
  }

  /** Also when it means nothing here: whoever said so, or reads it, may know less of this hub. */
  #sayAllAgain(): void {
    for (const own of this.#all.values()) Object.assign(own, { saidTick: -Infinity, quietUntilTick: 0 });
    this.#compareAll();
  }

  /** Compares who is to be there with who is. */
  tick(): void {
    this.#ticks += 1;
    this.#compareAll();
    const nowMs = performance.now();
    for (const own of [...this.#all.values()]) if (!own.hasEntered && own.leftAtMs === undefined && nowMs > own.giveUpAtMs) this.#end(own, 'LOG_UNAVAILABLE');
  }

  #compareAll(): void {
    for (const own of [...this.#all.values()]) this.#settle(own);
    for (const member of this.#fold?.membersOf(this.#options.hubId) ?? []) if (!this.#all.has(member)) this.#leaveStray(member);
  }

  /** Nobody here is this member: it gave up, and its `entered` was stored nevertheless. */
  #leaveStray(member: string): void {
    if (this.#fold?.has(member) === true) void this.#append({ type: 'left', hub: this.#options.hubId, member, atMs: this.#options.now() }, {});
  }

  #settle(own: Own): void {
    if (this.#fold === undefined) return;
    const { member, leftAtMs, told } = own;
    const isThere = this.#fold.has(member);
    if (leftAtMs === undefined && isThere && !own.hasEntered) {
      own.hasEntered = true;
      told.entered();
    }
    if (own.quietUntilTick > this.#ticks) return;
    if (leftAtMs !== undefined && !isThere) this.#all.delete(member);
    else if (isThere === (leftAtMs !== undefined) || this.#ticks - own.saidTick >= REPEAT_TICKS) this.#tell(own);
  }

  #tell(own: Own): void {
    const { hubId: hub } = this.#options;
    const { member, entering: { room, name, owner, data }, atMs, leftAtMs } = own;
    own.quietUntilTick = this.#ticks + QUIET_TICKS;
    if (leftAtMs === undefined) {
      own.saidTick = this.#ticks;
      own.isSaid = true;
    }
    const fact: PresenceFact = leftAtMs === undefined ? { type: 'entered', hub, member, room, name, owner, atMs, ...(data === undefined ? {} : { data }) } : { type: 'left', hub, member, atMs: leftAtMs };
    void this.#append(fact, {}).then((code) => {
      if (code === undefined) return;
      own.quietUntilTick = 0;
      if (!ERRORS[code].retryable) this.#end(own, code);
    });
  }

  #end(own: Own, code: ErrorCode): void {
    if (!this.#all.delete(own.member) || own.leftAtMs !== undefined) return;
    own.told.ended(code);
  }

  /** Resolves with what became of it if it was not stored; the next tick compares again. */
  async #append(fact: PresenceFact, { id = this.#options.nextId(), ttlMs }: { readonly id?: string; readonly ttlMs?: number }): Promise<ErrorCode | undefined> {
    const { log, logger, now, troubled, workspaceId } = this.#options;
    try {
      await log.append(factEvent(fact, { workspaceId, id, nowMs: now(), ...(ttlMs === undefined ? {} : { ttlMs }) }));
      return undefined;
    } catch (error) {
      // A hub that stops closes its log; one that said the same first has said it.
      if (error instanceof LogError && (error.code === 'LOG_CLOSED' || fact.type === 'gone')) return undefined;
      troubled();
      logger.debug({ error, workspace: workspaceId, fact: fact.type }, 'a fact of presence was not stored');
      return logErrorCode(error);
    }
  }
}
