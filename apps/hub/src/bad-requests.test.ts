import { request } from 'node:http';

import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { closeAll, codeOf, connectPeer, connectRaw, joinRooms, startTestHub, upgradeHead, type RawClient, type TestHub, type TestPeer } from './hub.fixture.ts';

const noLeaks = trackResources();
afterAll(() => noLeaks());

const HANDSHAKE_TIMEOUT_MS = 200;
let hub: TestHub;
let bystanders: readonly [TestPeer, TestPeer];
let sent = 0;

beforeEach(async () => {
  hub = await startTestHub({ env: { CARILLON_HUB_HANDSHAKE_TIMEOUT_MS: `${HANDSHAKE_TIMEOUT_MS}`, CARILLON_HUB_FRAME_MAX_BYTES: '100000' } });
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

/** Says something by hand and resolves when the hub has hung up. */
async function sayRaw(...pieces: readonly (string | Buffer)[]): Promise<RawClient> {
  const raw = await connectRaw(hub.port);
  for (const piece of pieces) raw.socket.write(piece);
  await eventually(() => raw.isEnded(), { what: 'the hub to hang up' });
  return raw;
}

const statusLine = ({ text }: RawClient): string | undefined => text().split('\r\n', 1)[0];

describe('an upgrade', () => {
  it.each<[string, string, Readonly<Record<string, string | undefined>>, number, string]>([
    ['as an unknown kind', '/connect/listener', {}, 400, 'CONNECTION_KIND_UNKNOWN'],
    ['as no kind', '/connect/', {}, 400, 'CONNECTION_KIND_UNKNOWN'],
    ['as a kind in capitals', '/connect/Messenger', {}, 400, 'CONNECTION_KIND_UNKNOWN'],
    ['as __proto__', '/connect/__proto__', {}, 400, 'CONNECTION_KIND_UNKNOWN'],
    ['of another path', '/status', {}, 404, 'ROUTE_NOT_FOUND'],
    ['of a longer path', '/connect/messenger/x', {}, 404, 'ROUTE_NOT_FOUND'],
    ['to something else than WebSocket', '/connect/messenger', { Upgrade: 'irc' }, 400, 'HANDSHAKE_INVALID'],
    ['without a key', '/connect/messenger', { 'Sec-WebSocket-Key': undefined }, 400, 'HANDSHAKE_INVALID'],
    ['with a key that is too short', '/connect/messenger', { 'Sec-WebSocket-Key': 'abc=' }, 400, 'HANDSHAKE_INVALID'],
    ['with a version of long ago', '/connect/messenger', { 'Sec-WebSocket-Version': '7' }, 400, 'HANDSHAKE_INVALID'],
    ['without a version', '/connect/hub', { 'Sec-WebSocket-Version': undefined }, 400, 'HANDSHAKE_INVALID'],
    ['with an empty list of protocols', '/connect/hub', { 'Sec-WebSocket-Protocol': ',' }, 400, 'HANDSHAKE_INVALID'],
    ['with a protocol twice', '/connect/hub', { 'Sec-WebSocket-Protocol': 'carillon.2, carillon.2' }, 400, 'HANDSHAKE_INVALID'],
    ['by a page of another origin', '/connect/messenger', { Origin: 'https://evil.example' }, 403, 'ORIGIN_REFUSED'],
  ])('%s is refused with its code', async (_, path, headers, status, code) => {
    const raw = await sayRaw(upgradeHead(path, headers));
    expect([statusLine(raw)?.slice(0, 12), codeOf(raw.text())]).toEqual([`HTTP/1.1 ${status}`, code]);
    expect(raw.text()).toContain('Content-Type: application/problem+json');
    expect(await hub.metric('carillon_hub_refused_total', code)).toBe(1);
  });

  it('with POST is refused', async () => {
    const raw = await sayRaw(upgradeHead('/connect/messenger').replace('GET', 'POST'));
    expect(codeOf(raw.text())).toBe('HANDSHAKE_INVALID');
  });

  it.each(['/connect/messenger?x=key', '/connect/messenger/', '/connect/hub/?a=/b'])('of %s is taken', async (path) => {
    const raw = await connectRaw(hub.port);
    raw.socket.write(upgradeHead(path));
    await eventually(() => raw.text().startsWith('HTTP/1.1 101'));
  });

  it('that offers compression gets none', async () => {
    for (const kind of ['messenger', 'repeater', 'hub'] as const) {
      const peer = await connectPeer(hub, kind, { perMessageDeflate: true });
      expect(peer.socket.extensions).toBe('');
    }
  });

  it('that offers subprotocols gets carillon.2 when it is among them', async () => {
    for (const [path, offered, protocol] of [['/connect/hub', 'chat, carillon.2', 'carillon.2'], ['/connect/messenger', 'chat, carillon.2', 'carillon.2'], ['/connect/repeater', 'carillon.2', 'carillon.2'], ['/connect/messenger', 'chat', undefined]] as const) {
      const raw = await connectRaw(hub.port);
      raw.socket.write(upgradeHead(path, { 'Sec-WebSocket-Protocol': offered }));
      await eventually(() => raw.text().startsWith('HTTP/1.1 101'));
      expect(/sec-websocket-protocol: (.*)\r/i.exec(raw.text())?.[1]).toBe(protocol);
    }
  });

  it('of one peer too many is refused with CONNECTIONS_EXCEEDED until one leaves', async () => {
    const small = await startTestHub({ env: { CARILLON_HUB_CONNECTIONS_MAX: '2' } });
    const [first] = [await connectPeer(small, 'messenger'), await connectPeer(small, 'repeater')];
    for (const kind of ['messenger', 'repeater', 'hub'] as const) await expect(connectPeer(small, kind)).rejects.toThrow('503');
    expect(await small.metric('carillon_hub_refused_total', 'CONNECTIONS_EXCEEDED')).toBe(3);
    expect((await small.post('A')).status).toBe(200);
    await first.leave();
    await eventually(() => connectPeer(small, 'hub').then(() => true, () => false));
  });
});

describe('a request', () => {
  it.each([
    ['garbage', '\0\x01\x02 what is this\r\n\r\n'], ['TLS to a plain port', Buffer.from('16030100c8010000c40303', 'hex')], ['a header without a colon', 'GET / HTTP/1.1\r\nHost hub\r\n\r\n'],
    ['two lengths', 'POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx'], ['a length and chunks (smuggling)', 'POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a head of 20 KB', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`], ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('that is malformed is answered with 400 REQUEST_MALFORMED (%s)', async (_, bytes) => {
    const raw = await sayRaw(bytes);
    expect([statusLine(raw), codeOf(raw.text())]).toEqual(['HTTP/1.1 400 Bad Request', 'REQUEST_MALFORMED']);
  });

  it.each([['no byte', ''], ['half a line', 'GET /sta'], ['a head that never ends', 'GET /status HTTP/1.1\r\nHost: hub\r\nX: ']])('that takes longer than the handshake timeout is answered with 408 (%s)', async (_, piece) => {
    const startedMs = performance.now();
    const raw = await connectRaw(hub.port);
    if (piece !== '') raw.socket.write(piece);
    const trickle = setInterval(() => raw.socket.writable && piece.endsWith(' ') && raw.socket.write('x'), 20);
    await eventually(() => raw.isEnded());
    clearInterval(trickle);
    expect([statusLine(raw), codeOf(raw.text())]).toEqual(['HTTP/1.1 408 Request Timeout', 'REQUEST_TIMEOUT']);
    // The timeout, the pace at which Node looks, and some slack for a busy machine.
    expect(performance.now() - startedMs).toBeLessThan(2 * HANDSHAKE_TIMEOUT_MS + 1_000);
    expect(await hub.metric('carillon_hub_refused_total', 'REQUEST_TIMEOUT')).toBe(1);
  });

  it('whose body never ends is given up', async () => {
    const raw = await sayRaw('POST /event HTTP/1.1\r\nHost: hub\r\nContent-Length: 10\r\n\r\n{');
    expect(codeOf(raw.text())).toBe('REQUEST_TIMEOUT');
  });

  it('with a body that is announced as far too large is refused before it comes', async () => {
    const raw = await sayRaw('POST /event HTTP/1.1\r\nHost: hub\r\nContent-Length: 100000000\r\n\r\n{');
    expect([statusLine(raw), codeOf(raw.text())]).toEqual(['HTTP/1.1 413 Payload Too Large', 'BODY_TOO_LARGE']);
  });

  it('with a body of chunks that is too large is refused', async () => {
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
    const raw = await sayRaw('POST /event HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n', ...Array.from({ length: 7 }, () => chunk), '0\r\n\r\n');
    expect([statusLine(raw), codeOf(raw.text())]).toEqual(['HTTP/1.1 413 Payload Too Large', 'BODY_TOO_LARGE']);
  });

  it('with a body far too large gets its answer, whichever way it is sent', async () => {
    const body = Buffer.alloc(400_000, 0x20);
    for (const headers of [{ 'content-length': body.length }, { 'transfer-encoding': 'chunked' }]) {
      const text = await new Promise<string>((resolve, reject) => {
        const sending = request({ port: hub.port, host: '127.0.0.1', method: 'POST', path: '/event', headers, agent: false }, (answer) => {
          let got = `${answer.statusCode} `;
          answer.on('data', (piece: Buffer) => (got += piece.toString())).on('end', () => resolve(got)).on('error', reject);
        });
        sending.on('error', reject);
        sending.end(body);
      });
      expect([text.slice(0, 3), codeOf(text)]).toEqual(['413', 'BODY_TOO_LARGE']);
    }
  });

  const room = { 'affected-room': { roomID: 'A' } };
  it.each<[string, string | Uint8Array, string]>([
    ['nothing', '', 'JSON_INVALID'], ['no JSON', 'hello', 'JSON_INVALID'], ['half of it', '{"affected-room":', 'JSON_INVALID'], ['two of it', '{}{}', 'JSON_INVALID'],
    ['invalid UTF-8', Uint8Array.of(0x22, 0xff, 0x22), 'BODY_INVALID_UTF8'], ['half a letter', Uint8Array.of(0x22, 0xc3), 'BODY_INVALID_UTF8'],
    ['depth 100,000', `${'['.repeat(49_000)}${']'.repeat(49_000)}`, 'JSON_TOO_DEEP'], ['unclosed depth', '{"a":'.repeat(19_000), 'JSON_TOO_DEEP'],
    ['__proto__', '{"affected-room":{"roomID":"A"},"__proto__":{"x":1}}', 'JSON_KEY_FORBIDDEN'], ['__proto__ inside data, escaped', '{"affected-room":{"roomID":"A"},"data":{"\\u005f_proto__":1}}', 'JSON_KEY_FORBIDDEN'],
    ['a list', '[]', 'EVENT_INVALID'], ['null', 'null', 'EVENT_INVALID'], ['a text', '"A"', 'EVENT_INVALID'], ['a room that is a number', '{"affected-room":{"roomID":7}}', 'EVENT_INVALID'],
    ['a room that is text', '{"affected-room":"A"}', 'EVENT_INVALID'], ['tags that are text', JSON.stringify({ ...room, 'event-tags': 'alert' }), 'EVENT_INVALID'], ['a day as its time', JSON.stringify({ ...room, timestamp: 'today' }), 'EVENT_INVALID'],
    ['a value that is a number', JSON.stringify({ ...room, value: 1 }), 'EVENT_INVALID'], ['a room of 257 letters', JSON.stringify({ 'affected-room': { roomID: 'x'.repeat(257) } }), 'EVENT_INVALID'],
    ['no room', '{}', 'ROOM_NAME_INVALID'], ['an empty room', '{"affected-room":{"roomID":""}}', 'ROOM_NAME_INVALID'], ['* as its room', '{"affected-room":{"roomID":"*"}}', 'ROOM_NAME_INVALID'],
    ['a line feed in its room', '{"affected-room":{"roomID":"A\\nB"}}', 'ROOM_NAME_INVALID'], ['half a surrogate pair in its room', '{"affected-room":{"roomID":"\\ud800"}}', 'ROOM_NAME_INVALID'], ['a tab in its room', '{"affected-room":{"roomID":"A\\tid=1"}}', 'ROOM_NAME_INVALID'],
  ])('POST /event with %s is refused with its code', async (_, body, code) => {
    const answer = await hub.call('POST', '/event', { body });
    expect([answer.status, answer.code]).toEqual([400, code]);
    expect(await hub.metric('carillon_hub_refused_total', code)).toBe(1);
    expect(await hub.metric('carillon_hub_events_received_total', 'http')).toBe(0);
    if (code === 'EVENT_INVALID') expect(JSON.parse(answer.text)).toMatchObject({ errors: [{ pointer: expect.any(String) as string, detail: expect.any(String) as string }] });
  });

  it('whose client hangs up halfway leaves nothing behind', async () => {
    const raw = await connectRaw(hub.port);
    raw.socket.write('POST /event HTTP/1.1\r\nHost: hub\r\nContent-Length: 10\r\n\r\n{');
    await hub.call('GET', '/health');
    raw.socket.resetAndDestroy();
    await eventually(async () => expect(await hub.metric('carillon_hub_refused_total', 'REQUEST_MALFORMED')).toBeGreaterThan(0));
    expect((await hub.post('A')).status).toBe(200);
  });
});
