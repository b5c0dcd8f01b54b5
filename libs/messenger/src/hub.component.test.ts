import { encodeFrame } from '@carillon/wire';
import { afterEach, describe, expect, it } from 'vitest';
import { connect } from './connect.ts';
import type { Messenger } from './messenger.ts';
import type { MessengerOptions } from './options.ts';
import { roomEvent, type RoomEvent } from './room-event.ts';
import { eventually, startStubHub, type StubHub, type StubHubOptions, type StubPeer } from './stub-hub.test.fixture.ts';
import { FRAME_RECEIVE_MAX_BYTES, SOCKET_RECEIVE_MAX_BYTES } from './transport.ts';

const hubs: StubHub[] = [];
const messengers: Messenger[] = [];

async function startHub(options?: StubHubOptions): Promise<StubHub> {
  const hub = await startStubHub(options);
  hubs.push(hub);
  return hub;
}

function join(url: string, options: MessengerOptions = {}): Messenger {
  const messenger = connect(url, { backoff: { firstMs: 20, capMs: 50 }, ...options });
  messengers.push(messenger);
  return messenger;
}

afterEach(async () => {
  await Promise.all(messengers.splice(0).map((messenger) => messenger.close()));
  await Promise.all(hubs.splice(0).map((hub) => hub.stop()));
});

/** The one socket of a hub that one messenger has joined. */
const peerOf = (hub: StubHub): StubPeer => [...hub.peers][0]!;

describe('a messenger at a v1 hub', () => {
  it('carries an event from one messenger to another, as a binary frame', async () => {
    const hub = await startHub();
    const listener = join(hub.url, { headers: { authorization: 'Bearer ck_1' } });
    const publisher = join(hub.url);
    const events = listener.subscribe<RoomEvent>(['ITB-1101', '*']);
    await listener.ready();
    await eventually(() => hub.heard.length === 1);
    expect(hub.heard).toEqual(['{"rooms":["*"],"create":true}']);
    expect(peerOf(hub).request).toMatchObject({ url: '/connect/messenger', headers: { authorization: 'Bearer ck_1' } });
    await publisher.publish(roomEvent({ room: 'ITB-1101', key: 'power', value: 'on' }));
    await publisher.publish(roomEvent({ room: 'KMB-1', key: 'power', value: 'off' }));
    const seen: string[] = [];
    for await (const event of events) {
      expect(event.body.constructor).toBe(Uint8Array);
      seen.push(`${event.room} ${event.json().value}`);
      if (seen.length === 2) break;
    }
    expect(seen).toEqual(['ITB-1101 on', 'KMB-1 off']);
  });

  it('comes back after a restart: rooms first, then what waited', async () => {
    const hub = await startHub();
    const messenger = join(hub.url);
    messenger.subscribe(['A', 'B']);
    await messenger.ready();
    await hub.stop();
    await eventually(() => messenger.state.status === 'waiting');
    const waiting = [messenger.send('A', '1'), messenger.send('A', '2')];
    await eventually(() => messenger.state.attempt > 1);
    expect(messenger.state.lastError?.code).toBe('LINK_UNREACHABLE');
    const restarted = await startHub({ port: hub.port });
    await Promise.all(waiting);
    await eventually(() => restarted.heard.length === 3);
    expect(restarted.heard).toEqual(['{"rooms":["A","B"],"create":true}', 'A 1', 'A 2']);
  });

  it('stays away as long as a hub that restarts asks', async () => {
    const hub = await startHub();
    const messenger = join(hub.url, { backoff: { firstMs: 1, capMs: 1 } });
    await messenger.ready();
    const closedAt = Date.now();
    peerOf(hub).socket.close(1012, 'DRAINING retry-after-ms=300');
    await eventually(() => messenger.state.status === 'waiting');
    expect(messenger.state.lastError).toMatchObject({ code: 'DRAINING' });
    await messenger.ready();
    expect(Date.now() - closedAt).toBeGreaterThanOrEqual(299);
    expect(hub.joined).toBe(2);
  });

  it('is closed for good by a final code', async () => {
    const hub = await startHub();
    const messenger = join(hub.url);
    await messenger.ready();
    peerOf(hub).socket.close(4501, 'ROOM_NAME_INVALID');
    await eventually(() => messenger.state.status === 'closed');
    await expect(messenger.ready()).rejects.toMatchObject({ code: 'ROOM_NAME_INVALID' });
  });

  it('waits as long as an HTTP refusal asks, and says what it was', async () => {
    const hub = await startHub({ refuseWith: 503 });
    const messenger = join(hub.url);
    await eventually(() => messenger.state.status === 'waiting');
    expect(messenger.state).toMatchObject({ attempt: 1, lastError: { code: 'LINK_UNREACHABLE', detail: 'the hub answered HTTP 503' } });
  });

  it('hears pings, errors of the hub, and ignores its other text', async () => {
    const hub = await startHub();
    const messenger = join(hub.url);
    const errors: Error[] = [];
    messenger.on('error', (error) => errors.push(error));
    await messenger.ready();
    const { socket } = peerOf(hub);
    socket.ping();
    socket.send('not JSON');
    socket.send('{"op":"welcome"}');
    socket.send('{"op":"error","code":"SUBSCRIPTIONS_EXCEEDED","detail":"10001"}');
    await eventually(() => messenger.state.lastPingAt !== undefined && errors.length > 0);
    expect(errors).toEqual([expect.objectContaining({ code: 'SUBSCRIPTIONS_EXCEEDED' })]);
    expect(messenger.state).toMatchObject({ status: 'open', lastError: { code: 'SUBSCRIPTIONS_EXCEEDED', detail: '10001' } });
  });

  it('reads past the blank lines of original hubs, refuses a frame that is too large and lives on', async () => {
    const hub = await startHub();
    const messenger = join(hub.url);
    const events = messenger.subscribe('A');
    await messenger.ready();
    const { socket } = peerOf(hub);
    socket.send(encodeFrame('A', new Uint8Array(FRAME_RECEIVE_MAX_BYTES)));
    socket.send(encodeFrame('A', '\n\n{"n":1}\n'));
    const { value } = await events[Symbol.asyncIterator]().next() as { readonly value: { json(): unknown } };
    expect(value.json()).toEqual({ n: 1 });
    expect(messenger.state).toMatchObject({ status: 'open', lastError: { code: 'FRAME_TOO_LARGE' } });
  });

  it('cuts a connection before it spends memory on a monstrous frame, and reconnects', async () => {
    const hub = await startHub();
    const messenger = join(hub.url);
    await messenger.ready();
    peerOf(hub).socket.send(new Uint8Array(SOCKET_RECEIVE_MAX_BYTES + 1));
    await eventually(() => hub.joined === 2);
    await messenger.ready();
    expect(messenger.state.lastError?.code).toBe('FRAME_TOO_LARGE');
  });

  it('flushes what waits when it drains', async () => {
    const hub = await startHub();
    const messenger = join(hub.url);
    const sent = Promise.all(Array.from({ length: 2_000 }, (_, index) => messenger.send('A', `${index} ${' '.repeat(1_000)}`)));
    await messenger.drain();
    await sent;
    await eventually(() => hub.heard.length === 2_000);
    expect(hub.heard.map((line) => Number(line.split(' ')[1]))).toEqual(Array.from({ length: 2_000 }, (_, index) => index));
    expect(hub.peers.size).toBe(0);
  });

  it('holds back for a hub that does not read', async () => {
    const hub = await startHub();
    const messenger = join(hub.url, { outboundMaxBytes: 20_000_000 });
    await messenger.ready();
    const { socket } = peerOf(hub);
    socket.pause();
    const body = new Uint8Array(900_000).fill(32);
    let settled = 0;
    const sent = Array.from({ length: 20 }, () => messenger.send('A', body).then(() => (settled += 1)));
    await eventually(() => settled > 0);
    expect(messenger.state.queuedBytes).toBeGreaterThan(0);
    socket.resume();
    await Promise.all(sent);
    expect(messenger.state.queuedBytes).toBe(0);
  });
});
