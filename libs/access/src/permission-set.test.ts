import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { NO_PERMISSIONS, type PermissionRule, type Permissions } from '@carillon/schemas';
import { patternFault } from '@carillon/wire';
import { describe, expect, it } from 'vitest';

import { PermissionSet, type Decision, type Direction } from './index.ts';

const permissions = (more: Partial<Permissions>): Permissions => ({ ...NO_PERMISSIONS, ...more });

/** The definitions once more, as plainly as can be and without the matcher under test: by regular expressions. */
const expressions = new Map<string, RegExp>();
function selects(pattern: string, name: string): boolean {
  let expression = expressions.get(pattern);
  if (expression === undefined) {
    const source = pattern === '*' ? '[^]*' : pattern.replaceAll(/[.?+^$(){}|[\]\\]/g, '\\$&').replace(/\*\*$/, '[^]*').replaceAll(/(?<!\])\*/g, '[^-/]*');
    expressions.set(pattern, (expression = new RegExp(`^(?:${source})$`)));
  }
  return expression.test(name);
}

interface Rule {
  readonly room: string;
  readonly event?: string | undefined;
}
const allowRules = (set: Permissions, direction: Direction): readonly Rule[] => set[direction];
const denyRules = (set: Permissions, direction: Direction): readonly Rule[] => set.deny[direction];

function modelAllows(set: Permissions, direction: Direction, { room, event }: { readonly room: string; readonly event: string | undefined }): boolean {
  const denied = denyRules(set, direction).some((rule) => selects(rule.room, room) && (rule.event === undefined || event === undefined || selects(rule.event, event)));
  const allowed = allowRules(set, direction).some((rule) => selects(rule.room, room) && (rule.event === undefined || (event !== undefined && selects(rule.event, event))));
  return allowed && !denied;
}

const isAll = (pattern: string | undefined): boolean => pattern === '*' || pattern === '**';

function modelDecides(set: Permissions, direction: Direction, room: string): Decision {
  const allowing = allowRules(set, direction).filter((rule) => selects(rule.room, room));
  const denying = denyRules(set, direction).filter((rule) => selects(rule.room, room));
  if (allowing.length === 0 || denying.some(({ event }) => event === undefined || isAll(event))) return 'deny';
  return denying.length === 0 && allowing.some(({ event }) => event === undefined) ? 'allow' : 'by-event';
}

const witnessesOf = new Map<string, readonly string[]>();
function witnesses(pattern: string): readonly string[] {
  const known = witnessesOf.get(pattern) ?? findWitnesses(pattern);
  witnessesOf.set(pattern, known);
  return known;
}

/** Names of a pattern that a narrower one is likely to miss: nothing, something new, and more segments than any has. */
function findWitnesses(pattern: string): readonly string[] {
  if (isAll(pattern)) return ['', 'z', 'z-z', '-z/', `z${'-z'.repeat(20)}`, `z${'/z'.repeat(20)}`];
  const head = pattern.replace(/\*\*$/, '');
  const rests = head === pattern ? [''] : ['', 'z', '-', '/', `z${'-z'.repeat(20)}`, `z${'/z'.repeat(20)}`];
  return ['', 'z'].flatMap((run) => rests.map((rest) => head.replaceAll('*', run) + rest));
}

function modelCovers(set: Permissions, direction: Direction, pattern: string): boolean {
  const isPattern = pattern !== '' && !/[\u0000-\u001f\u007f]/.test(pattern) && pattern.isWellFormed() && !/\*\*./.test(pattern);
  const over = ({ room }: Rule) => witnesses(pattern).every((name) => selects(room, name));
  const denied = denyRules(set, direction).some((rule) => (rule.event === undefined || isAll(rule.event)) && over(rule));
  return isPattern && !denied && allowRules(set, direction).some(over);
}

/** Mulberry32: small, seeded, good enough to choose with. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const PATTERN_PIECES = ['a', 'a', 'b', 'A', '-', '-', '/', '*', '*', '%2A', '%2D', '%2f', '.', '?', 'é', '\\', '[a', '$'];
const NAME_PIECES = [...PATTERN_PIECES, '**', '\u0001', '\u0002', '\u0000', '\n', '\u007f', ' '];

function choices(seed: number) {
  const below = generator(seed);
  const one = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const join = (pieces: readonly string[], most: number) => Array.from({ length: 1 + below(most) }, () => one(pieces)).join('');
  const makePattern = (): string => {
    const text = join(PATTERN_PIECES, 4) + (below(4) === 0 ? '**' : '');
    return patternFault(text) === undefined ? text : makePattern();
  };
  // Drawn from a pool, so that the model compiles each once.
  const pool = Array.from({ length: 4_000 }, makePattern);
  const pattern = (): string => (below(8) === 0 ? one(['*', '**', 'a-*', 'a-**']) : one(pool));
  const rule = (): PermissionRule => (below(3) === 0 ? { room: pattern(), event: pattern() } : { room: pattern() });
  const rules = (most: number) => Array.from({ length: below(most + 1) }, rule);
  const set = (): Permissions => ({ send: rules(3), receive: rules(3), deny: { send: rules(2), receive: rules(2) } });
  /** Half of all names are made of a pattern that is in use, so that rules meet; names may have anything in them. */
  const name = (patterns: readonly string[]): string => (patterns.length > 0 && below(2) === 0 ? one(witnesses(one(patterns))) || 'a' : join(NAME_PIECES, 4));
  const asked = (patterns: readonly string[]): string => (patterns.length > 0 && below(3) === 0 ? one(patterns) : below(2) === 0 ? pattern() : join(NAME_PIECES, 4));
  return { set, name, asked };
}

describe('100,000 random permission sets', () => {
  const seed = (Math.random() * 2 ** 32) | 0;

  it('decide, allow and cover as the definitions say', () => {
    const { set: nextSet, name, asked } = choices(seed);
    const differences: unknown[] = [];
    const same = (what: string, got: unknown, expected: unknown, about: unknown) => {
      if (got !== expected) differences.push({ seed, what, got, expected, about });
    };
    const seen: Record<Decision, number> = { allow: 0, deny: 0, 'by-event': 0 };
    let covered = 0;
    for (let count = 0; count < 100_000 && differences.length === 0; count += 1) {
      const raw = nextSet();
      const set = new PermissionSet(raw);
      for (const direction of ['send', 'receive'] as const) {
        const all = [...allowRules(raw, direction), ...denyRules(raw, direction)];
        const rooms = all.map(({ room }) => room);
        const events = all.flatMap(({ event }) => event ?? []);
        const room = name(rooms);
        const decision = set.decide(direction, room);
        seen[decision] += 1;
        same('decide', decision, modelDecides(raw, direction, room), { raw, direction, room });
        const answers = [undefined, 'zz', name(events), name(events), name(events)].map((event) => {
          const allows = set.allows(direction, room, event);
          same('allows', allows, modelAllows(raw, direction, { room, event }), { raw, direction, room, event });
          return allows;
        });
        if (decision !== 'by-event') for (const allows of answers) same('decide against allows', allows, decision === 'allow', { raw, direction, room });
        same('decide again', set.decide(direction, room), decision, { raw, direction, room });
        const pattern = asked(rooms);
        const covers = set.covers(direction, pattern);
        covered += covers ? 1 : 0;
        same('covers', covers, modelCovers(raw, direction, pattern), { raw, direction, pattern });
      }
    }
    expect(differences).toEqual([]);
    // The sets are such that each answer is common.
    for (const common of [seen.allow, seen.deny, seen['by-event'], covered]) expect(common).toBeGreaterThan(5_000);
  });
});

describe('a permission set', () => {
  it('refuses what no rule allows', () => {
    const set = new PermissionSet(NO_PERMISSIONS);
    expect([set.decide('send', 'ITB-1'), set.allows('receive', 'ITB-1', 'power'), set.covers('receive', 'ITB-1')]).toEqual(['deny', false, false]);
  });

  it('keeps send and receive apart', () => {
    const set = new PermissionSet(permissions({ send: [{ room: '*' }], deny: { send: [], receive: [{ room: '*' }] } }));
    expect([set.decide('send', 'a'), set.decide('receive', 'a')]).toEqual(['allow', 'deny']);
  });

  it('lets a denial win over every allowance', () => {
    const set = new PermissionSet(permissions({ send: [{ room: '*' }, { room: 'ITB-1101' }], deny: { send: [{ room: 'ITB-11*' }], receive: [] } }));
    expect([set.decide('send', 'ITB-1101'), set.decide('send', 'ITB-1201')]).toEqual(['deny', 'allow']);
  });

  it('takes the name of an event only where a rule by name has the say', () => {
    const set = new PermissionSet(permissions({ receive: [{ room: 'ITB-*' }, { room: 'LAB-1', event: 'power' }], deny: { send: [], receive: [{ room: 'ITB-9', event: 'alarm/**' }] } }));
    expect(['ITB-1', 'ITB-9', 'LAB-1', 'LAB-2'].map((room) => set.decide('receive', room))).toEqual(['allow', 'by-event', 'by-event', 'deny']);
    expect(['power', 'alarm/fire', undefined].map((event) => set.allows('receive', 'ITB-9', event))).toEqual([true, false, false]);
    expect(['power', 'alarm/fire', undefined].map((event) => set.allows('receive', 'LAB-1', event))).toEqual([true, false, false]);
  });

  it('does not let an event without a name pass as any name', () => {
    const set = new PermissionSet(permissions({ send: [{ room: '*', event: '*' }] }));
    expect([set.decide('send', 'a'), set.allows('send', 'a', 'x'), set.allows('send', 'a', undefined)]).toEqual(['by-event', true, false]);
  });

  it('lets a subscription stand that is denied in part, and none that is denied whole or allowed in part', () => {
    const set = new PermissionSet(permissions({ receive: [{ room: 'ITB-**' }, { room: 'LAB-*', event: 'power' }], deny: { send: [], receive: [{ room: 'ITB-9*' }, { room: 'LAB-*', event: 'x' }] } }));
    expect(['ITB-*', 'ITB-9*', 'ITB-99', '*', 'LAB-*', 'LAB-**'].map((pattern) => set.covers('receive', pattern))).toEqual([true, false, false, false, true, false]);
  });

  it.each(['', 'a\u0001', 'a**b', '***', 'a\n', '\ud800'])('does not take %j for a pattern', (pattern) => {
    expect(new PermissionSet(permissions({ receive: [{ room: '*' }] })).covers('receive', pattern)).toBe(false);
  });

  it('answers the same when it has seen more rooms than it keeps', () => {
    const set = new PermissionSet(permissions({ send: [{ room: 'a-*' }] }));
    for (let round = 0; round < 2; round += 1) {
      for (let room = 0; room < 10_000; room += 1) expect(set.decide('send', `${room % 3 === 0 ? 'a' : 'b'}-${room}`)).toBe(room % 3 === 0 ? 'allow' : 'deny');
    }
  });

  it('keeps memory bounded whatever rooms it is asked about', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const set = new PermissionSet(permissions({ send: [{ room: 'a-*' }] }));
    const heldBytes = () => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = heldBytes();
    for (let room = 0; room < 50_000; room += 1) set.decide('send', `${room}${'x'.repeat(2_000)}`);
    // All of them are 100 MB, 4,096 are 8 MB.
    expect(heldBytes() - before).toBeLessThan(30_000_000);
    expect(set.decide('send', 'a-1')).toBe('allow');
  });
});
