import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { closeAll, codeOf, connectPeer, connectRaw, joinRooms, startTestHub, upgradeHead, type TestHub, type TestPeer } from '../hub.fixture.ts';

// Whatever a stranger sends, a pair of bystanders keeps exchanging events undisturbed.

const noLeaks = trackResources();
afterAll(() => noLeaks());

let hub: TestHub;
let bystanders: readonly [TestPeer, TestPeer];
let sent = 0;

beforeEach(async () => {
  hub = await startTestHub({ env: { CARILLON_HUB_PATTERNS_MAX: '50', CARILLON_HUB_FRAME_MAX_BYTES: '100000' } });
  bystanders = [await connectPeer(hub, 'messenger'), await joinRooms(hub, 'BYSTANDERS')];
  sent = 0;
  exchange();
});

afterEach(async () => {
  exchange();
  const [, listener] = bystanders;
  const all = Array.from({ length: sent }, (_, n) => `BYSTANDERS\n${n + 1}`);
  await listener.got(all.at(-1) ?? '');
  expect(listener.frames).toEqual(all);
  await closeAll();
});

function exchange(): void {
  for (let n = 0; n < 5; n += 1) bystanders[0].send(`BYSTANDERS\n${++sent}`);
}

const refused = (code: string): Promise<number> => hub.metric('carillon_hub_refused_total', code);
const closed = (cause: string): Promise<number> => hub.metric('carillon_hub_connections_closed_total', cause);

const BAD_FRAMES: readonly (readonly [string, string | Uint8Array, string, number])[] = [
  ['nothing at all', '', 'FRAME_LINE_FEED_MISSING', 4500],
  ['no line feed', 'ITB-1101 {"a":1}', 'FRAME_LINE_FEED_MISSING', 4500],
  ['no line feed in 10 KB', 'x'.repeat(10_240), 'ROOM_NAME_INVALID', 4501],
  ['an empty room', '\n{}', 'ROOM_NAME_INVALID', 4501],
  ['a room of 10 KB', `${'x'.repeat(10_240)}\n{}`, 'ROOM_NAME_INVALID', 4501],
  ['a room one byte too long', `${'x'.repeat(257)}\n{}`, 'ROOM_NAME_INVALID', 4501],
  ['a room too long in bytes only', `${'é'.repeat(129)}\n{}`, 'ROOM_NAME_INVALID', 4501],
  ['NUL in the room', 'ITB\0-1101\n{}', 'ROOM_NAME_INVALID', 4501],
  ['a carriage return before the line feed', 'ITB-1101\r\n{}', 'ROOM_NAME_INVALID', 4501],
  ['DEL in the room', 'ITB\x7f\n{}', 'ROOM_NAME_INVALID', 4501],
  ['invalid UTF-8 in the room', Uint8Array.of(0x49, 0xff, 0xfe, 10), 'ROOM_NAME_INVALID', 4501],
  ['a surrogate in the room (CESU-8)', Uint8Array.of(0xed, 0xa0, 0x80, 10), 'ROOM_NAME_INVALID', 4501],
  ['an overlong letter in the room', Uint8Array.of(0xc1, 0x81, 10), 'ROOM_NAME_INVALID', 4501],
  ['* in the room', 'ITB-*\n{}', 'ROOM_NAME_INVALID', 4501],
  ['* as the room', '*\n{}', 'ROOM_NAME_INVALID', 4501],
  ['a tab in the room, which is no v2 field here', 'ITB-1101\tid=x\n{}', 'ROOM_NAME_INVALID', 4501],
];

describe('a bad frame', () => {
  it.each(BAD_FRAMES)('closes a messenger with its code (%s)', async (_, frame, code, close) => {
    const peer = await connectPeer(hub, 'messenger');
    peer.send(frame);
    peer.send('BYSTANDERS\nafter the refusal');
    exchange();
    expect(await peer.ended).toEqual({ code: close, reason: code });
    expect(await refused(code)).toBe(1);
    expect(await closed(code)).toBe(1);
  });

  it.each((['repeater', 'hub'] as const).flatMap((kind) => BAD_FRAMES.map((row) => [kind, ...row] as const)))('is refused and survived by a %s (%s)', async (kind, _, frame, code) => {
    const peer = await connectPeer(hub, kind);
    const listener = await joinRooms(hub, 'ITB-1101');
    peer.send(frame);
    exchange();
    await eventually(() => peer.texts.length === 1);
    expect(JSON.parse(peer.texts[0] ?? '')).toEqual({ op: 'error', code, detail: expect.any(String) as string });
    peer.send('ITB-1101\nstill here');
    await listener.got('ITB-1101\nstill here');
    expect(await refused(code)).toBe(1);
  });

  it.each([['id twice', 'A\tid=1\tid=2\n'], ['an empty field', 'A\t\n'], ['an id with a space', 'A\tid=a b\n'], ['a tag line of 3 KB', `A\tx=${'y'.repeat(3_000)}\n`], ['invalid UTF-8', Buffer.from([65, 9, 0xff, 61, 49, 10])]])('in v2 is refused and survived (%s)', async (_, frame) => {
    const { WebSocket } = await import('ws');
    const socket = new WebSocket(`${hub.url}/connect/hub`, ['carillon.2']);
    const texts: string[] = [];
    socket.on('message', (data) => texts.push((data as Buffer).toString()));
    await new Promise((resolve) => socket.once('open', resolve));
    const listener = await joinRooms(hub, 'A');
    socket.send(Buffer.from(frame as string), { binary: true });
    socket.send(Buffer.from('A\tid=good\tnew=field\n{}'), { binary: true });
    await listener.got('A\n{}');
    await eventually(() => texts.length === 1);
    expect(codeOf(texts[0] ?? '')).toBe('TAG_LINE_INVALID');
    const gone = new Promise((resolve) => socket.once('close', resolve));
    socket.terminate();
    await gone;
  });

  it.each(['messenger', 'repeater', 'hub'] as const)('over the limit closes a %s with 1009', async (kind) => {
    const peer = await connectPeer(hub, kind);
    peer.send(`A\n${'x'.repeat(kind === 'hub' ? 103_000 : 99_999)}`);
    expect(await peer.ended).toMatchObject({ code: 1009 });
    await eventually(async () => expect(await closed('FRAME_TOO_LARGE')).toBe(1));
  });

  it('at the limit is none', async () => {
    const listener = await joinRooms(hub, 'A');
    const frame = `A\n${'x'.repeat(99_998)}`;
    (await connectPeer(hub, 'messenger')).send(frame);
    await listener.got(frame);
  });
});

describe('broken framing', () => {
  /** Joins by hand and says something; resolves with what came after the handshake when the hub hung up. */
  async function sayRaw(...bytes: readonly Buffer[]): Promise<Buffer> {
    const raw = await connectRaw(hub.port);
    raw.socket.write(upgradeHead('/connect/messenger'));
    await eventually(() => raw.text().includes('\r\n\r\n'));
    for (const piece of bytes) raw.socket.write(piece);
    await eventually(() => raw.isEnded(), { what: 'the hub to hang up' });
    return Buffer.from(raw.text().split('\r\n\r\n')[1] ?? '', 'latin1');
  }
  const MASK = Buffer.alloc(4);
  const claim = (first: number, length: bigint): Buffer => {
    const head = Buffer.alloc(10);
    head[0] = first;
    head[1] = 0xff;
    head.writeBigUInt64BE(length, 2);
    return head;
  };

  it.each<[string, readonly Buffer[], number, string]>([
    ['a header that claims 2^63 bytes', [claim(0x82, 2n ** 63n), MASK], 1009, 'FRAME_TOO_LARGE'],
    ['a header that claims 2^64 - 1 bytes', [claim(0x82, 2n ** 64n - 1n), MASK], 1009, 'FRAME_TOO_LARGE'],
    ['a header that claims 1 GB', [claim(0x82, 1_000_000_000n), MASK, Buffer.alloc(1_000)], 1009, 'FRAME_TOO_LARGE'],
    ['fragments that together are too large', [...Array.from({ length: 3 }, (_, at) => Buffer.concat([claim(at === 0 ? 2 : 0, 50_000n), MASK, Buffer.alloc(50_000)]))], 1009, 'FRAME_TOO_LARGE'],
    ['a frame that is not masked', [Buffer.from([0x82, 3, 65, 10, 66])], 1002, 'FRAME_MALFORMED'],
    ['reserved bits', [Buffer.concat([Buffer.from([0xf2, 0x80]), MASK])], 1002, 'FRAME_MALFORMED'],
    ['an unknown opcode', [Buffer.concat([Buffer.from([0x83, 0x80]), MASK])], 1002, 'FRAME_MALFORMED'],
    ['a continuation of nothing', [Buffer.concat([Buffer.from([0x80, 0x80]), MASK])], 1002, 'FRAME_MALFORMED'],
    ['a ping of 126 bytes', [Buffer.concat([Buffer.from([0x89, 0xfe, 0, 126]), MASK, Buffer.alloc(126)])], 1002, 'FRAME_MALFORMED'],
    ['a close with half a code', [Buffer.concat([Buffer.from([0x88, 0x81]), MASK, Buffer.alloc(1)])], 1002, 'FRAME_MALFORMED'],
    ['a text that is not UTF-8', [Buffer.concat([Buffer.from([0x81, 0x81]), MASK, Buffer.from([0xff])])], 1007, 'TEXT_INVALID_UTF8'],
  ])('ends the connection with its code (%s)', async (_, bytes, code, cause) => {
    const said = await sayRaw(...bytes);
    expect(said[0]).toBe(0x88);
    expect(said.readUInt16BE(2)).toBe(code);
    await eventually(async () => expect(await closed(cause)).toBe(1));
  });

  it('of a million tiny fragments ends the connection, and holds none of them', async () => {
    const raw = await connectRaw(hub.port);
    raw.socket.write(upgradeHead('/connect/messenger'));
    await eventually(() => raw.text().includes('\r\n\r\n'));
    const empty = Buffer.concat([Buffer.from([0x00, 0x80]), MASK]);
    raw.socket.write(Buffer.concat([Buffer.from([0x02, 0x80]), MASK]));
    raw.socket.write(Buffer.concat(Array.from({ length: 1_000_000 }, () => empty)));
    await eventually(() => raw.isEnded());
    await eventually(async () => expect(await closed('FRAGMENTS_EXCEEDED')).toBe(1));
  });

  it('of a connection that just goes away is nobody\'s trouble', async () => {
    const peers = await Promise.all((['messenger', 'repeater', 'hub'] as const).map((kind) => connectPeer(hub, kind)));
    for (const peer of peers) peer.socket.terminate();
    await eventually(async () => expect((await hub.status()).info.nexus).toMatchObject({ repeaters: [], hubs: [], 'registration-buffer': { 'buffer-utilization': 2 } }));
    expect(await closed('1006')).toBe(3);
  });
});

describe('a text', () => {
  const change = (rooms: unknown): string => JSON.stringify({ rooms, create: true });

  it.each([
    ['not JSON', '{', 'CONTROL_INVALID'], ['nothing', '', 'CONTROL_INVALID'], ['a number', '7', 'CONTROL_INVALID'], ['null', 'null', 'CONTROL_INVALID'], ['a list', '[]', 'CONTROL_INVALID'],
    ['no rooms', '{"create":true}', 'CONTROL_INVALID'], ['rooms that are null', change(null), 'CONTROL_INVALID'], ['rooms that are one room', change('A'), 'CONTROL_INVALID'],
    ['create that is text', '{"rooms":["A"],"create":"true"}', 'CONTROL_INVALID'], ['a room that is a number', change([7]), 'PATTERN_INVALID'], ['an empty room', change(['']), 'PATTERN_INVALID'],
    ['a room of 10 KB', change(['x'.repeat(10_240)]), 'PATTERN_INVALID'], ['a line feed in a room', change(['A\nB']), 'PATTERN_INVALID'], ['NUL in a room', change(['A\0']), 'PATTERN_INVALID'],
    ['half a surrogate pair', '{"rooms":["\\ud800"],"create":true}', 'PATTERN_INVALID'], ['** in the middle', change(['A**B']), 'PATTERN_INVALID'], ['one bad among good', change(['A', 'B', '']), 'PATTERN_INVALID'],
    ['too many rooms at once', change(Array.from({ length: 51 }, (_, n) => `R${n}`)), 'CONTROL_INVALID'], ['depth 20,000', `{"rooms":${'['.repeat(20_000)}${']'.repeat(20_000)}}`, 'PATTERN_INVALID'],
    ['unclosed depth 60,000', '['.repeat(60_000), 'CONTROL_INVALID'], ['more than 64 KiB', change(['x'.repeat(65_536)]), 'CONTROL_TOO_LARGE'], ['__proto__ instead of rooms', '{"__proto__":{"rooms":["A"],"create":true}}', 'CONTROL_INVALID'],
  ])('that is no subscription change is answered, changes nothing, and the messenger lives (%s)', async (_, text, code) => {
    const peer = await joinRooms(hub, 'ITB-1101');
    const [answers, before] = [peer.texts.length, await refused(code)];
    peer.say(text);
    exchange();
    await eventually(() => peer.texts.length > answers);
    expect(JSON.parse(peer.texts.at(-1) ?? '')).toMatchObject({ op: 'error', code });
    expect(await refused(code)).toBe(before + 1);
    expect(Object.keys((await hub.status()).info.nexus['messenger-mapping']).sort()).toEqual(['BYSTANDERS', 'ITB-1101']);
    await hub.post('ITB-1101', { key: code });
    await eventually(() => peer.frames.length === 1);
    expect(peer.isOpen()).toBe(true);
  });

  it('with more than it needs is taken', async () => {
    const peer = await connectPeer(hub, 'messenger');
    peer.say('{"id":"x","type":"subscribe","rooms":["A"],"create":true,"__proto__":{"create":false},"constructor":1}');
    await peer.heard();
    await hub.post('A');
    await eventually(() => peer.frames.length === 1);
  });

  it('that asks for too many subscriptions gets as many as there may be and SUBSCRIPTIONS_EXCEEDED', async () => {
    const peer = await connectPeer(hub, 'messenger');
    const rooms = Array.from({ length: 60 }, (_, n) => `R${n}`);
    await peer.subscribe(...rooms.slice(0, 40));
    await peer.subscribe(...rooms.slice(0, 40));
    expect(peer.texts.map(codeOf)).not.toContain('SUBSCRIPTIONS_EXCEEDED');
    await peer.subscribe(...rooms.slice(40));
    expect(peer.texts.map(codeOf)).toContain('SUBSCRIPTIONS_EXCEEDED');
    await peer.unsubscribe('R0');
    await peer.subscribe('LAST');
    await hub.post('R49');
    await hub.post('R50');
    await hub.post('LAST');
    await eventually(() => peer.frames.length === 2);
    expect(peer.frames.map((frame) => frame.split('\n')[0])).toEqual(['R49', 'LAST']);
  });

  it('from a repeater ends its connection with 1003', async () => {
    const peer = await connectPeer(hub, 'repeater');
    peer.say('{"rooms":["*"],"create":true}');
    expect(await peer.ended).toEqual({ code: 1003, reason: 'TEXT_UNEXPECTED' });
    expect(await refused('TEXT_UNEXPECTED')).toBe(1);
  });

  it('from a linked hub is read, counted when it is not understood, and never answered', async () => {
    const peer = await connectPeer(hub, 'hub');
    for (const text of ['{', '{"rooms":["*"],"create":true}', '{"op":"__proto__"}', '{"op":"error","code":"ROOM_NAME_INVALID","detail":"x"}', '{"op":"error"}', '{"op":"hello"}']) peer.say(text);
    exchange();
    await peer.heard();
    expect(peer.texts).toHaveLength(1);
    expect(await refused('CONTROL_INVALID')).toBe(5); // one of them the bystander's own
    expect(hub.logs.filter((line) => line.includes('linked hub refused a frame'))).toHaveLength(1);
    expect(peer.isOpen()).toBe(true);
  });
});
