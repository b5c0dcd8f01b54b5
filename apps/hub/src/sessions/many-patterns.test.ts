import { createInProcessExchange } from '@carillon/bus';
import type { EventLog, LogTail } from '@carillon/log';
import { eventually, trackResources } from '@carillon/testing';
import { DEFAULT_LIMITS } from '@carillon/wire';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, codeOf, connectPeer, joinRooms, startTestHub, type TestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from './session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const MANY = 100_000;
/** In one frame: 25 KB, of the 64 KiB that a text frame may have. */
const PER_FRAME = 2_500;
const FRAMES = MANY / PER_FRAME;
/** Of patterns and of requests, and frames of patterns, that a hub takes by default. */
const MAX = DEFAULT_LIMITS.patternsMax;
const TAKEN = MAX / PER_FRAME;

/** Rooms, and between them patterns: `R0`, `P1-*`, `R2` … No two of them select the same. */
const FRAME_ROOMS = Array.from({ length: FRAMES }, (_, at) => Array.from({ length: PER_FRAME }, (_each, n) => nameOf(at * PER_FRAME + n)));

function nameOf(n: number): string {
  return n % 2 === 0 ? `R${n}` : `P${n}-*`;
}

interface CountedHub extends TestHub {
  /** Patterns that the hub asks others for: its cluster, which shows it as a metric, and the tail of its log. */
  wanted(): Promise<{ readonly cluster: number; readonly tail: number }>;
}

/** A hub that is alone in its cluster and keeps a log. */
async function startHub(env: Readonly<Record<string, string>> = {}): Promise<CountedHub> {
  const tailed = new Set<string>();
  const wrapTail = (tail: LogTail): LogTail => ({
    get certain() {
      return tail.certain;
    },
    add: (pattern) => {
      tailed.add(pattern);
      return tail.add(pattern);
    },
    remove: (pattern) => {
      tailed.delete(pattern);
      tail.remove(pattern);
    },
    close: () => tail.close(),
  });
  const wrapLog = (log: EventLog): EventLog => new Proxy(log, {
    get: (target, name) => {
      if (name === 'tail') return (...given: Parameters<EventLog['tail']>) => wrapTail(target.tail(...given));
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? (...given: unknown[]): unknown => Reflect.apply(member, target, given) : member;
    },
  });
  const hub = await startTestHub({ log: true, wrapLog, bus: createInProcessExchange().connect(), env });
  return { ...hub, wanted: async () => ({ cluster: await hub.metric('carillon_hub_cluster_subscriptions'), tail: tailed.size }) };
}

const more = (wanted: { readonly cluster: number; readonly tail: number }, count: number) => ({ cluster: wanted.cluster + count, tail: wanted.tail + count });

/** A subscriber of either protocol. */
interface Subscriber {
  /** Asks for all of them, frame after frame, and waits until each is answered; gives the codes of the refusals, and which frames they are of where that is said. */
  askAll(): Promise<readonly (readonly [code: string | undefined, frame?: string])[]>;
  /** Takes back the first frame, and asks for another. */
  exchange(frame: readonly string[]): Promise<void>;
  bodies(): string[];
  isOpen(): boolean;
  leave(): Promise<void>;
}

async function openFirst(hub: TestHub): Promise<Subscriber> {
  const peer = await connectPeer(hub, 'messenger');
  const change = (rooms: readonly string[], create: boolean): void => peer.say(JSON.stringify({ rooms, create }));
  /** What is no list of rooms is answered behind all that was said before. */
  const answers = async (): Promise<string[]> => {
    change(['**BEHIND**'], true);
    await eventually(() => peer.texts.some((text) => codeOf(text) === 'PATTERN_INVALID'));
    return peer.texts.splice(0).slice(0, -1);
  };
  return {
    askAll: async () => {
      for (const rooms of FRAME_ROOMS) change(rooms, true);
      return (await answers()).map((text) => [codeOf(text)]);
    },
    exchange: async (frame) => {
      change(FRAME_ROOMS[0] ?? [], false);
      change(frame, true);
      expect(await answers()).toEqual([]);
    },
    bodies: () => peer.frames.map((frame) => frame.slice(frame.indexOf('\n') + 1)),
    isOpen: peer.isOpen,
    leave: peer.leave,
  };
}

async function openSecond(hub: TestHub): Promise<Subscriber> {
  const session = await openSession(hub);
  return {
    askAll: async () => {
      for (const [at, rooms] of FRAME_ROOMS.entries()) session.say({ op: 'subscribe', request: `${at + 1}`, rooms });
      await eventually(() => session.all('live').length + session.all('error').length === FRAMES, { what: 'an answer to each frame' });
      return session.all('error').map(({ code, request = '' }) => [code, request]);
    },
    exchange: async (frame) => {
      session.say({ op: 'unsubscribe', request: '1' });
      await session.subscribe('again', frame);
    },
    bodies: () => session.bodies(),
    isOpen: () => session.socket.readyState === session.socket.OPEN,
    leave: session.leave,
  };
}

/** Stores events in a room, one after the other, until it is told to end; gives their bodies then. */
function keepStoring(writer: TestSession, room: string): () => Promise<string[]> {
  let isOver = false;
  const storing = (async () => {
    const bodies: string[] = [];
    for (; !isOver; bodies.push(`${bodies.length}`)) await writer.store(room, `${bodies.length}`);
    return bodies;
  })();
  return () => {
    isOver = true;
    return storing;
  };
}

describe.each([['first', openFirst], ['second', openSecond]] as const)('100,000 patterns of one subscriber of the %s protocol', (protocol, open) => {
  it('are refused above the bound, frame by frame, and what was taken stays', async () => {
    const hub = await startHub();
    const [reader, writer] = [await open(hub), await openSession(hub)];
    const before = await hub.wanted();
    const refused = Array.from({ length: FRAMES - TAKEN }, (_, n) => (protocol === 'first' ? ['SUBSCRIPTIONS_EXCEEDED'] : ['SUBSCRIPTIONS_EXCEEDED', `${TAKEN + 1 + n}`]));
    expect(await reader.askAll()).toEqual(refused);
    expect(await hub.wanted()).toEqual(more(before, MAX));
    expect(await hub.metric('carillon_hub_refused_total', 'SUBSCRIPTIONS_EXCEEDED')).toBe(FRAMES - TAKEN);

    await writer.store('R0', 'the first');
    await writer.store(`R${MAX}`, 'above');
    await writer.store(`P${MAX - 1}-x`, 'the last');
    await eventually(() => expect(reader.bodies()).toEqual(['the first', 'the last']));
    await reader.exchange(FRAME_ROOMS[TAKEN] ?? []);
    await writer.store('R0', 'given back');
    await writer.store(`R${MAX}`, 'now');
    await eventually(() => expect(reader.bodies()).toEqual(['the first', 'the last', 'now']));
    expect(reader.isOpen()).toBe(true);
    await reader.leave();
    await eventually(async () => expect(await hub.wanted()).toEqual(before));
  });

  it('are all taken where so many may be: each event comes once, others hear theirs meanwhile, and nothing stays when it leaves', async () => {
    const hub = await startHub({ CARILLON_HUB_PATTERNS_MAX: `${MANY}` });
    const [other, writer, busy] = [await joinRooms(hub, 'OTHER'), await openSession(hub), await openSession(hub)];
    const before = await hub.wanted();
    const stop = keepStoring(busy, 'OTHER');
    await eventually(() => other.frames.length > 0);
    const reader = await open(hub);
    const heardBefore = other.frames.length;
    expect(await reader.askAll()).toEqual([]);
    expect(other.frames.length).toBeGreaterThan(heardBefore);
    const stored = await stop();
    await eventually(() => expect(other.frames).toEqual(stored.map((body) => `OTHER\n${body}`)));
    expect(await hub.wanted()).toEqual(more(before, MANY));

    await writer.store('R50000', 'a room');
    await writer.store('P50001-x', 'of a pattern');
    await writer.store('P50002-x', 'of none');
    await writer.store(`P${MANY - 1}-`, 'the last');
    await eventually(() => expect(reader.bodies()).toEqual(['a room', 'of a pattern', 'the last']));
    await reader.leave();
    await eventually(async () => expect(await hub.wanted()).toEqual(before));
    await writer.store('OTHER', 'after');
    await other.got('OTHER\nafter');
  });
});

describe('requests of one connection', () => {
  it('are refused above the bound of patterns with REQUESTS_EXCEEDED, however few rooms they name', async () => {
    const hub = await startTestHub();
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    for (let n = 1; n <= MAX + 1; n += 1) reader.say({ op: 'subscribe', request: `${n}`, rooms: ['A'] });
    expect(await reader.got('error')).toEqual({ op: 'error', code: 'REQUESTS_EXCEEDED', detail: `at most ${MAX}`, request: `${MAX + 1}` });
    expect(reader.all('subscribed')).toHaveLength(MAX);
    await writer.store('A', 'once');
    await writer.store('A', 'and on');
    await eventually(() => expect(reader.bodies()).toEqual(['once', 'and on']));
    expect(await hub.metric('carillon_hub_refused_total', 'REQUESTS_EXCEEDED')).toBe(1);
  });

  it('count together, of whatever kind, and make room when they end', async () => {
    const hub = await startHub({ CARILLON_HUB_PATTERNS_MAX: '4' });
    const session = await openSession(hub);
    const refused = async (ask: () => void, request: string): Promise<void> => {
      ask();
      expect(await session.got('error', (frame) => frame.request === request)).toMatchObject({ code: 'REQUESTS_EXCEEDED', detail: 'at most 4' });
    };
    await session.subscribe('s', ['A']);
    session.say({ op: 'enter', request: 'e', room: 'A' });
    session.say({ op: 'watch', request: 'w', room: 'A' });
    session.say({ op: 'consume', request: 'c', name: 'billing', rooms: ['A'] });
    await session.got('consuming');
    await refused(() => session.say({ op: 'subscribe', request: 's2', rooms: ['A'] }), 's2');
    await refused(() => session.say({ op: 'enter', request: 'e2', room: 'A' }), 'e2');
    await refused(() => session.say({ op: 'watch', request: 'w2', room: 'A' }), 'w2');
    await refused(() => session.say({ op: 'consume', request: 'c2', name: 'other', rooms: ['A'] }), 'c2');
    // A page of history is none of them.
    session.say({ op: 'history', request: 'h', rooms: ['A'], max: 1 });
    await session.got('page');
    session.say({ op: 'unsubscribe', request: 'w' });
    await session.subscribe('s3', ['A']);
    expect(session.all('error')).toHaveLength(4);
  });
});
