import { createInProcessExchange } from '@carillon/bus';
import type { Permissions } from '@carillon/schemas';
import { eventually, trackResources } from '@carillon/testing';
import { coversPattern, matchesPattern } from '@carillon/wire';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed, type TestFeed, type TestKey } from './access/access.fixture.ts';
import { closeAll, connectPeer, openTail, startTestHub, type TestHub, type TestPeer, type TestTail } from './hub.fixture.ts';

// Workspaces with rooms of equal names at two hubs of a cluster, peers of all kinds with rights that change, and a model
// of who gets what that knows nothing of routes, batches, caches or subjects.

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const WORKSPACES = ['teamA', 'teamB', 'default'] as const;
const ROOMS = ['A', 'A-1', 'A-2', 'B', 'B/1'] as const;
const PATTERNS = [...ROOMS, '*', 'A*', 'A**', 'A-*', 'B/**'] as const;
const NAMES = ['power', 'alarm', undefined] as const;
const KINDS = ['messenger', 'messenger', 'messenger', 'messenger', 'repeater', 'repeater', 'hub', 'tail'] as const;
const KEY_KINDS = { messenger: 'messenger', tail: 'service', repeater: 'repeater', hub: 'hub-link' } as const;
const ROUNDS = 16;
const EVENTS_A_ROUND = 80;

type Kind = (typeof KINDS)[number];
type Rules = Permissions['send'];

interface Member {
  readonly kind: Kind;
  readonly workspaceId: string;
  readonly hub: TestHub;
  readonly key: TestKey;
  permissions: Permissions;
  /** Of messengers and tails. */
  readonly patterns: Set<string>;
  readonly peer: TestPeer | undefined;
  readonly tail: TestTail | undefined;
  /** Of the round. */
  readonly expected: number[];
}

interface Said {
  readonly n: number;
  readonly of: string;
}

const selects = (rule: Rules[number], room: string, name: string | undefined, unnamed: boolean): boolean => {
  const event = 'event' in rule ? rule.event : undefined;
  if (!matchesPattern(rule.room, room)) return false;
  return event === undefined || (name === undefined ? unnamed : matchesPattern(event, name));
};

/** The words of docs/access.md. */
function may({ permissions }: Member, direction: 'send' | 'receive', room: string, name: string | undefined): boolean {
  return permissions[direction].some((rule) => selects(rule, room, name, false)) && !permissions.deny[direction].some((rule) => selects(rule, room, name, true));
}

function maySubscribe({ permissions: { receive, deny } }: Member, pattern: string): boolean {
  const isOfAll = (rule: Rules[number]): boolean => !('event' in rule) || rule.event === undefined || rule.event === '*';
  return receive.some((rule) => coversPattern(rule.room, pattern)) && !deny.receive.some((rule) => isOfAll(rule) && coversPattern(rule.room, pattern));
}

const saidTo = ({ peer, tail }: Member): readonly Said[] =>
  [...(peer?.frames ?? []).map((frame) => frame.slice(frame.indexOf('\n') + 1)), ...[...(tail?.text() ?? '').matchAll(/^data: (\{.*)$/gm)].map(([, data]) => data ?? '')].map((text) => JSON.parse(text) as Said);

class World {
  readonly members: Member[] = [];
  sent = 0;
  #n = 0;
  /** Number of the last event before this round: one of those may still be on its way. */
  #before = 0;
  readonly #random: () => number;
  readonly #feed: TestFeed;
  readonly #hubs: readonly TestHub[];

  constructor(seed: number, feed: TestFeed, hubs: readonly TestHub[]) {
    this.#feed = feed;
    this.#hubs = hubs;
    let state = seed;
    // Mulberry32: the whole history follows from the seed.
    this.#random = () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
    };
  }

  #one<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)] as T;
  }

  #rules(max: number): Rules {
    return Array.from({ length: Math.floor(this.#random() * (max + 1)) }, () => (this.#random() < 0.6 ? { room: this.#one(PATTERNS) } : { room: this.#one(PATTERNS), event: this.#one(['power', 'alarm', 'a*', '*']) }));
  }

  #permissions(): Permissions {
    const wide: Rules = this.#random() < 0.6 ? [{ room: '*' }] : [];
    return { send: [...wide, ...this.#rules(2)], receive: [...wide, ...this.#rules(3)], deny: { send: this.#rules(1), receive: this.#rules(1) } };
  }

  async join(kind: Kind, workspaceId: string): Promise<void> {
    const hub = this.#one(this.#hubs);
    const permissions = this.#permissions();
    const pattern = this.#one(PATTERNS);
    // A tail is opened once: it must be let in, and loses rights later.
    if (kind === 'tail') permissions.receive.unshift({ room: '*' });
    if (kind === 'tail') permissions.deny.receive.length = 0;
    const key = await this.#feed.key(KEY_KINDS[kind], { workspaceId, permissions });
    await this.#feed.reached(...this.#hubs);
    const peer = kind === 'tail' ? undefined : await connectPeer(hub, kind, { headers: key.bearer });
    const tail = kind === 'tail' ? await openTail(hub, `/rooms/${encodeURIComponent(pattern)}/events`, key.bearer) : undefined;
    this.members.push({ kind, workspaceId, hub, key, permissions, patterns: new Set(tail === undefined ? [] : [pattern]), peer, tail, expected: [] });
  }

  async change(): Promise<void> {
    const member = this.#one(this.members);
    const pattern = this.#one(PATTERNS);
    const what = this.#random();
    if (what < 0.15) {
      await this.#feed.remove(member.key.entry);
      await member.peer?.ended;
      await member.tail?.ended;
      this.members.splice(this.members.indexOf(member), 1);
      await this.join(member.kind, member.workspaceId);
    } else if (what < 0.5 || member.kind !== 'messenger') {
      member.permissions = this.#permissions();
      await this.#feed.change(member.key, { permissions: member.permissions });
    } else if (what < 0.9) {
      await this.#feed.reached(...this.#hubs);
      await member.peer?.subscribe(pattern);
      if (maySubscribe(member, pattern)) member.patterns.add(pattern);
    } else {
      await member.peer?.unsubscribe(pattern);
      member.patterns.delete(pattern);
    }
  }

  /** Sends one event by one of the ways there are. */
  async send(): Promise<void> {
    const sender = this.#one(this.members);
    const [room, name, n] = [this.#one(ROOMS), this.#one(NAMES), (this.#n += 1)];
    const body = { n, of: sender.workspaceId, ...(name === undefined ? {} : { key: name }), 'affected-room': { roomID: room } };
    const byHttp = sender.kind === 'tail' || (sender.kind === 'messenger' && this.#random() < 0.1);
    this.sent += 1;
    if (byHttp) await this.#one(this.#hubs).call('POST', '/event', { body, headers: sender.key.bearer });
    else sender.peer?.send(`${room}\n${JSON.stringify(body)}`);
    if (!may(sender, 'send', room, name)) return;
    for (const member of this.members) {
      if (member.workspaceId !== sender.workspaceId || (member === sender && !byHttp) || !may(member, 'receive', room, name)) continue;
      const isWanted = [...member.patterns].some((pattern) => matchesPattern(pattern, room));
      const isLinked = member.kind === 'hub' && sender.kind !== 'hub';
      if (isWanted || isLinked) member.expected.push(n);
    }
    if (sender.kind === 'repeater' || sender.kind === 'hub') return;
    const repeaters = this.members.filter((member) => member.kind === 'repeater' && member.workspaceId === sender.workspaceId && may(member, 'receive', room, name));
    this.owed.set(n, { repeaters: new Set(repeaters), isLocal: !byHttp && repeaters.some(({ hub }) => hub === sender.hub) });
  }

  /** Events that are for one repeater: who may have them, and whether one of those is at the hub that has the event. */
  readonly owed = new Map<number, { readonly repeaters: ReadonlySet<Member>; readonly isLocal: boolean }>();

  #heard(member: Member): readonly Said[] {
    return saidTo(member).filter(({ n }) => n > this.#before);
  }

  /** Waits until all is where it belongs, and looks that nothing is elsewhere. */
  async settle(): Promise<void> {
    for (const { peer } of this.members) await peer?.heard();
    const compare = (): void => {
      for (const member of this.members) {
        if (member.kind === 'repeater') continue;
        const got = this.#heard(member).map(({ n }) => n).sort((left, right) => left - right);
        expect([member.workspaceId, member.kind, got]).toEqual([member.workspaceId, member.kind, member.expected]);
      }
      const given = this.members.filter(({ kind }) => kind === 'repeater').flatMap((member) => this.#heard(member).map(({ n }) => ({ n, member })));
      expect(new Set(given.map(({ n }) => n)).size).toBe(given.length);
      for (const { n, member } of given) expect([n, this.owed.get(n)?.repeaters.has(member)]).toEqual([n, true]);
      for (const [n, { isLocal }] of this.owed) if (isLocal) expect([n, given.some((one) => one.n === n)]).toEqual([n, true]);
    };
    await eventually(compare, { timeoutMs: 5_000, intervalMs: 5 });
  }

  /** Nobody has ever heard a word of another workspace, nor any twice; then what was heard is over. */
  endRound(): void {
    for (const member of this.members) {
      const all = saidTo(member);
      expect(all.filter(({ of }) => of !== member.workspaceId)).toEqual([]);
      expect(new Set(all.map(({ n }) => n)).size).toBe(all.length);
      member.expected.length = 0;
    }
    this.owed.clear();
    this.#before = this.#n;
  }
}

async function live(seed: number): Promise<number> {
  const exchange = createInProcessExchange();
  const feed = createTestFeed({ exchange });
  const start = (): Promise<TestHub> => startTestHub({ bus: exchange.connect(), env: { CARILLON_HUB_ACCESS: 'keys', CARILLON_LOG_LEVEL: 'warn' } });
  const hubs = [await start(), await start()];
  const world = new World(seed, feed, hubs);
  for (const workspaceId of WORKSPACES) for (const kind of KINDS) await world.join(kind, workspaceId);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let changes = 0; changes < 8; changes += 1) await world.change();
    await feed.reached(...hubs);
    for (let events = 0; events < EVENTS_A_ROUND; events += 1) await world.send();
    await world.settle();
    world.endRound();
    // Changes in the middle of events: who gets what is not said then, but for whose it is.
    for (let events = 0; events < EVENTS_A_ROUND; events += 1) await Promise.all([world.send(), ...(events % 16 === 0 ? [world.change()] : [])]);
    for (const { peer } of world.members) await peer?.heard();
    await feed.reached(...hubs);
    world.endRound();
  }
  await closeAll();
  return world.sent;
}

describe('an event', () => {
  it('never crosses workspaces, and goes to exactly those that want it and may have it, for thousands of events among changes', async () => {
    let sent = 0;
    await fc.assert(fc.asyncProperty(fc.integer(), async (seed) => void (sent += await live(seed))), { numRuns: 2, endOnFailure: true });
    expect(sent).toBeGreaterThan(5_000);
  }, 120_000);
});
