import type { PermissionRule, Permissions } from '@carillon/schemas';
import { coversPattern, isAllPattern, matchesPattern, patternFault } from '@carillon/wire';

export type Direction = 'send' | 'receive';

/** `by-event`: a rule that names events has the say. */
export type Decision = 'allow' | 'deny' | 'by-event';

/** Decisions are kept for this many rooms a direction, then begun anew: under a megabyte a key with names of ordinary length. */
const CACHE_MAX_ROOMS = 4_096;

/** Rules of one list: those for all events of their rooms, and those for some. */
interface Rules {
  readonly all: readonly string[];
  readonly named: readonly { readonly room: string; readonly event: string }[];
}

interface Side {
  readonly allow: Rules;
  readonly deny: Rules;
  /** Everything is allowed and nothing denied: no room needs a look. */
  readonly free: boolean;
  readonly decisions: Map<string, Decision>;
}

/**
 * The permissions of a key, compiled: what no rule allows is refused, and a denial wins over every allowance. An event
 * whose name cannot be read is in doubt: only rules without event names allow it, any denial for its room shuts it out.
 * Immutable but for its caches; a change of permissions makes another set.
 */
export class PermissionSet {
  readonly #sides: Readonly<Record<Direction, Side>>;

  constructor({ send, receive, deny }: Permissions) {
    this.#sides = { send: side(send, deny.send), receive: side(receive, deny.receive) };
  }

  /**
   * What holds for a room: `allow` and `deny` for all events, named or not; `by-event` when it takes `allows` with the event's
   * name to tell. (It is also the answer where denials by name happen to shut out all that is allowed by name.)
   */
  decide(direction: Direction, room: string): Decision {
    const side = this.#sides[direction];
    if (side.free) return 'allow';
    const kept = side.decisions.get(room);
    if (kept !== undefined) return kept;
    const decision = decide(side, room);
    if (side.decisions.size >= CACHE_MAX_ROOMS) side.decisions.clear();
    side.decisions.set(room, decision);
    return decision;
  }

  /** Whether an event may pass. `event` is its name, undefined when it has none that can be read. */
  allows(direction: Direction, room: string, event: string | undefined): boolean {
    const decision = this.decide(direction, room);
    if (decision !== 'by-event') return decision === 'allow';
    const { allow, deny } = this.#sides[direction];
    const selects = (rule: { readonly room: string; readonly event: string }) => (event === undefined || matchesPattern(rule.event, event)) && matchesPattern(rule.room, room);
    if (deny.named.some(selects)) return false;
    return allow.all.some((pattern) => matchesPattern(pattern, room)) || (event !== undefined && allow.named.some(selects));
  }

  /**
   * Whether a subscription to the pattern may stand: one rule allows something in all the rooms that it selects, and no
   * denial of all events shuts all of them out. What is denied in part, and rules by event name, are delivery's to filter by
   * `allows`. A malformed pattern is not covered.
   */
  covers(direction: Direction, pattern: string): boolean {
    if (patternFault(pattern, Infinity) !== undefined) return false;
    const { allow, deny } = this.#sides[direction];
    const over = (wide: string) => coversPattern(wide, pattern);
    return !deny.all.some(over) && (allow.all.some(over) || allow.named.some(({ room }) => over(room)));
  }
}

function side(allow: readonly PermissionRule[], deny: readonly PermissionRule[]): Side {
  const allowed: Rules = { all: allow.filter((rule) => !namesEvents(rule)).map(({ room }) => room), named: allow.filter(namesEvents) };
  // An unnamed event is shut out by every denial, so that a denial of all names is one of all events.
  const isPartial = (rule: PermissionRule) => namesEvents(rule) && !isAllPattern(rule.event);
  const denied: Rules = { all: deny.filter((rule) => !isPartial(rule)).map(({ room }) => room), named: deny.filter(namesEvents).filter(isPartial) };
  return { allow: allowed, deny: denied, free: deny.length === 0 && allowed.all.some(isAllPattern), decisions: new Map() };
}

function namesEvents(rule: PermissionRule): rule is { room: string; event: string } {
  return 'event' in rule && rule.event !== undefined;
}

function decide({ allow, deny }: Side, room: string): Decision {
  const selects = (pattern: string) => matchesPattern(pattern, room);
  const selectsRule = (rule: { readonly room: string }) => selects(rule.room);
  if (deny.all.some(selects)) return 'deny';
  if (allow.all.some(selects)) return deny.named.some(selectsRule) ? 'by-event' : 'allow';
  return allow.named.some(selectsRule) ? 'by-event' : 'deny';
}
