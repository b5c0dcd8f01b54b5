import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';

import { createAccessKey } from '@carillon/access';
import type { FeedEntry } from '@carillon/schemas';
import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { workspace, type KeyChanges, type StubHub } from './hub-stub.fixture.ts';
import { createSite, eventOf, firstPeer, type Peer, type TestRepeater } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(() => site.close());

const refusedTotal = 'carillon_repeater_refused_total';

/** A repeater that asks for keys, whose copy has what its hub's feed has. */
async function guarded(entries: readonly FeedEntry[], env: Readonly<Record<string, string>> = {}): Promise<{ readonly hub: StubHub; readonly link: Peer; readonly repeater: TestRepeater }> {
  const hub = await site.hub(entries);
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url, CARILLON_REPEATER_ACCESS: 'keys', ...env });
  await eventually(async () => (await repeater.metric('carillon_repeater_access_feed_connected')) === 1);
  return { hub, link: await firstPeer(hub), repeater };
}

const joins = (repeater: TestRepeater, secret: string, path = '/connect/ITB-1101/D'): Promise<Peer> => site.device(repeater, `/k/${secret}${path}`);
const named = (room: string, name: string): string => `${room}\n{"key":"${name}"}`;
const error = (code: string, detail?: string): object => ({ op: 'error', code, ...(detail === undefined ? {} : { detail }) });

describe('a join', () => {
  test('needs a key that is in force and of a kind that opens this door', async () => {
    const [good, old, link] = [site.issue(), site.issue({ expiresAtMs: 1 }), site.issue({ kind: 'hub-link' })];
    const { repeater } = await guarded([workspace(), good.entry, old.entry, link.entry]);
    const refused = (path: string, headers?: Record<string, string>) => site.refusedJoin(repeater, path, headers);
    const path = '/connect/ITB-1101/D';
    expect(await refused(path)).toEqual([401, 'ACCESS_KEY_REQUIRED']);
    expect(await refused(path, { authorization: `Bearer ${createAccessKey().key}` })).toEqual([401, 'ACCESS_KEY_INVALID']);
    expect(await refused(`/k/mistyped${path}`)).toEqual([401, 'ACCESS_KEY_INVALID']);
    expect(await refused(`/k/${good.secret}${path}?key=${old.secret}`)).toEqual([400, 'ACCESS_KEY_AMBIGUOUS']);
    expect(await refused(`${path}?key=${old.secret}`)).toEqual([401, 'ACCESS_KEY_EXPIRED']);
    expect(await refused(`/k/${link.secret}${path}`)).toEqual([403, 'ACCESS_KIND_REFUSED']);
    expect(await refused(`/k/${good.secret}/elsewhere`)).toEqual([404, 'ROUTE_NOT_FOUND']);
    for (const code of ['ACCESS_KEY_REQUIRED', 'ACCESS_KEY_AMBIGUOUS', 'ACCESS_KEY_EXPIRED', 'ACCESS_KIND_REFUSED']) expect(await repeater.metric(refusedTotal, code), code).toBe(1);
    await site.device(repeater, `/k/${good.secret}${path}`);
    await site.device(repeater, `${path}?key=${good.secret}`);
    await site.device(repeater, path, { authorization: `Bearer ${good.secret}` });
    await site.device(repeater, path, { 'x-api-key': good.secret });
    expect(await repeater.metric('carillon_repeater_devices')).toBe(4);
  });

  test('needs a part in the room: to send to it or to hear it', async () => {
    const [sender, listener, stranger] = [site.issue({ permissions: { send: [{ room: 'ITB-*' }] } }), site.issue({ permissions: { receive: [{ room: 'ITB-1101', event: 'power' }] } }), site.issue({ permissions: { send: [{ room: 'JFSB-*' }] } })];
    const { repeater } = await guarded([workspace(), sender.entry, listener.entry, stranger.entry]);
    await joins(repeater, sender.secret);
    await joins(repeater, listener.secret);
    expect(await site.refusedJoin(repeater, `/k/${stranger.secret}/connect/ITB-1101/D`)).toEqual([403, 'RECEIVE_DENIED']);
    expect(await repeater.metric(refusedTotal, 'RECEIVE_DENIED')).toBe(1);
  });

  test('without a key is the anonymous key\'s, while the workspace names one', async () => {
    const visitor = site.issue({ permissions: { send: [{ room: 'ITB-1101' }] } });
    const { hub, repeater } = await guarded([workspace({ anonymousKeyId: visitor.entry.id }), visitor.entry]);
    const [nobody, holder] = [await site.device(repeater, '/connect/ITB-1101/D'), await joins(repeater, visitor.secret)];
    expect(await site.refusedJoin(repeater, '/connect/JFSB-1/D')).toEqual([403, 'RECEIVE_DENIED']);
    hub.put(workspace());
    await eventually(() => nobody.closed() !== undefined);
    expect([nobody.closed(), holder.closed()]).toEqual([{ code: 4510, reason: 'ACCESS_KEY_REQUIRED' }, undefined]);
    expect(await site.refusedJoin(repeater, '/connect/ITB-1101/D')).toEqual([401, 'ACCESS_KEY_REQUIRED']);
  });

  test('is one of as many as the key and its workspace may have', async () => {
    const [few, other] = [site.issue({ limits: { connections: 1 } }), site.issue()];
    const { repeater } = await guarded([workspace({ limits: { connections: 2 } }), few.entry, other.entry]);
    const refused = (secret: string) => site.refusedJoin(repeater, `/k/${secret}/connect/ITB-1101/D`);
    const first = await joins(repeater, few.secret);
    expect(await refused(few.secret)).toEqual([429, 'CONNECTION_LIMIT_REACHED']);
    await joins(repeater, other.secret);
    expect(await refused(other.secret)).toEqual([429, 'CONNECTION_LIMIT_REACHED']);
    await first.close();
    await eventually(async () => (await repeater.metric('carillon_repeater_devices')) === 1);
    await joins(repeater, few.secret);
  });

  test('that fails in the handshake gives its place back', async () => {
    const few = site.issue({ limits: { connections: 1 } });
    const { repeater } = await guarded([workspace(), few.entry]);
    const [host, port] = repeater.host.split(':');
    const socket = connect(Number(port), host);
    let answer = '';
    socket.on('data', (piece) => (answer += piece.toString()));
    socket.write(`GET /k/${few.secret}/connect/ITB-1101/D HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\n\r\n`);
    await eventually(() => answer.includes('HANDSHAKE_INVALID'));
    socket.destroy();
    await joins(repeater, few.secret);
  });
});

describe('with access loopback', () => {
  test('this machine needs no key, and a proxy\'s peers do', async () => {
    const { repeater } = await guarded([workspace()], { CARILLON_REPEATER_ACCESS: 'loopback' });
    await site.device(repeater, '/connect/ITB-1101/D');
    expect(await site.refusedJoin(repeater, '/connect/ITB-1101/D', { 'x-forwarded-for': '192.0.2.1' })).toEqual([401, 'ACCESS_KEY_REQUIRED']);
    expect(await site.refusedJoin(repeater, `/k/${createAccessKey().key}/connect/ITB-1101/D`)).toEqual([401, 'ACCESS_KEY_INVALID']);
  });
});

describe('POST /send and GET /status', () => {
  test('need a key, and GET /health none', async () => {
    const good = site.issue({ permissions: { send: [{ room: 'ITB-*' }] } });
    const { link, repeater } = await guarded([workspace(), good.entry]);
    const post = (path: string, room: string, headers: Record<string, string> = {}) => site.call(repeater, path, { method: 'POST', body: eventOf(room), headers });
    const asked = await site.call(repeater, '/status');
    expect([asked.status, asked.code, asked.headers.get('www-authenticate')]).toEqual([401, 'ACCESS_KEY_REQUIRED', 'Bearer']);
    expect(await post('/send', 'ITB-1101')).toMatchObject({ status: 401, code: 'ACCESS_KEY_REQUIRED' });
    expect(await post('/send?key=no', 'ITB-1101')).toMatchObject({ status: 401, code: 'ACCESS_KEY_INVALID' });
    expect(await post(`/k/${good.secret}/send`, 'ITB-1101')).toMatchObject({ status: 200 });
    expect(await post('/send', 'ITB-1101', { 'x-access-key': good.secret })).toMatchObject({ status: 200 });
    expect(await post(`/send?key=${good.secret}`, 'JFSB-1')).toMatchObject({ status: 403, code: 'SEND_DENIED' });
    expect(await site.call(repeater, `/status?key=${good.secret}`)).toMatchObject({ status: 200 });
    expect(await site.call(repeater, '/health?key=no')).toMatchObject({ status: 200 });
    expect(await site.call(repeater, '/k/no/elsewhere')).toMatchObject({ status: 401, code: 'ACCESS_KEY_INVALID' });
    await eventually(() => link.frames.length === 2);
    expect(await repeater.metric(refusedTotal, 'SEND_DENIED')).toBe(1);
  });

  test('are refused beyond what the key may send a second', async () => {
    const [slow, small] = [site.issue({ limits: { eventsPerSecond: 1 } }), site.issue({ limits: { bytesPerSecond: 1_024 } })];
    const { repeater } = await guarded([workspace(), slow.entry, small.entry]);
    const post = (secret: string, body: string) => site.call(repeater, `/send?key=${secret}`, { method: 'POST', body });
    expect(await post(slow.secret, eventOf('R'))).toMatchObject({ status: 200 });
    expect(await post(slow.secret, eventOf('R'))).toMatchObject({ status: 429, code: 'EVENT_RATE_EXCEEDED' });
    expect(await post(small.secret, eventOf('R').padEnd(900_000))).toMatchObject({ status: 200 });
    expect(await post(small.secret, eventOf('R').padEnd(900_000))).toMatchObject({ status: 429, code: 'BYTE_RATE_EXCEEDED' });
  });
});

describe('what a device sends', () => {
  test('and may not is refused with an error frame, and the connection lives', async () => {
    const key = site.issue({ permissions: { send: [{ room: 'ITB-*' }], deny: { send: [{ room: 'ITB-9*' }], receive: [] } } });
    const other = site.issue();
    const { link, repeater } = await guarded([workspace(), key.entry, other.entry]);
    const [device, listener] = [await joins(repeater, key.secret), await joins(repeater, other.secret)];
    listener.socket.send('{"rooms":["*"],"create":true}');
    listener.send('ITB-1101\nsubscribed');
    for (const frame of ['JFSB-1\n{}', 'ITB-900\n{}', 'ITB-1101\n{}']) device.send(frame);
    await eventually(() => link.frames.length === 2 && listener.frames.length === 1);
    expect([link.texts(), listener.texts()]).toEqual([['ITB-1101\nsubscribed', 'ITB-1101\n{}'], ['ITB-1101\n{}']]);
    await eventually(() => device.controls.length === 2);
    expect(device.controls).toEqual([error('SEND_DENIED', 'JFSB-1'), error('SEND_DENIED', 'ITB-900')]);
    expect([device.closed(), await repeater.metric(refusedTotal, 'SEND_DENIED')]).toEqual([undefined, 2]);
  });

  test('is judged by its name where rules are by name', async () => {
    const key = site.issue({ permissions: { send: [{ room: 'ITB-*', event: 'power' }, { room: 'JFSB-*' }], deny: { send: [{ room: 'JFSB-*', event: 'door/**' }], receive: [] } } });
    const { link, repeater } = await guarded([workspace(), key.entry]);
    const device = await joins(repeater, key.secret);
    const passing = [named('ITB-1101', 'power'), 'ITB-1101\n{"specversion":"1.0","type":"power"}', named('JFSB-1', 'power')];
    const refused = [named('ITB-1101', 'volume'), 'ITB-1101\nno JSON', named('JFSB-1', 'door/opened'), 'JFSB-1\nno JSON', 'ITB-1101\n{"key":"power","key":"volume"}'];
    for (const frame of [...refused, ...passing]) device.send(frame);
    await eventually(() => link.frames.length === passing.length && device.controls.length === refused.length);
    expect(link.texts()).toEqual(passing);
  });

  test('is bounded by what the key may send a second', async () => {
    const [slow, small] = [site.issue({ limits: { eventsPerSecond: 1 } }), site.issue({ limits: { bytesPerSecond: 1_024 } })];
    const { link, repeater } = await guarded([workspace(), slow.entry, small.entry]);
    const [often, much] = [await joins(repeater, slow.secret), await joins(repeater, small.secret)];
    often.send('R\n1');
    often.send('R\n2');
    const large = Buffer.concat([Buffer.from('R\n'), Buffer.alloc(900_000, 0x20)]);
    much.send(large);
    much.send(large);
    await eventually(() => often.controls.length === 1 && much.controls.length === 1);
    expect([often.controls, much.controls]).toEqual([[error('EVENT_RATE_EXCEEDED')], [error('BYTE_RATE_EXCEEDED')]]);
    await eventually(() => link.frames.length === 2);
    expect([often.closed(), much.closed()]).toEqual([undefined, undefined]);
  });
});

describe('what a device hears', () => {
  test('is what its key may receive of the room it joined', async () => {
    const receiving = (changes: KeyChanges['permissions']) => site.issue({ permissions: { send: [{ room: '*' }], ...changes } });
    const [all, none, some] = [receiving({ receive: [{ room: 'ITB-*' }] }), receiving({ receive: [{ room: 'JFSB-*' }] }), receiving({ receive: [{ room: '*' }], deny: { send: [], receive: [{ room: '*', event: 'alarm' }] } })];
    const { repeater } = await guarded([workspace(), all.entry, none.entry, some.entry]);
    const speaker = await joins(repeater, all.secret);
    const [hearsAll, hearsNone, hearsSome] = [await joins(repeater, all.secret), await joins(repeater, none.secret), await joins(repeater, some.secret)];
    const frames = [named('ITB-1101', 'power'), named('ITB-1101', 'alarm'), 'ITB-1101\nno JSON', named('ITB-1101', 'last')];
    for (const frame of frames) speaker.send(frame);
    await eventually(() => hearsAll.frames.length === 4 && hearsSome.frames.length === 2);
    expect([hearsAll.texts(), hearsSome.texts(), hearsNone.texts()]).toEqual([frames, [frames[0], frames[3]], []]);
  });

  test('of the hub is what it subscribed to and may receive, and a subscription must be covered', async () => {
    const key = site.issue({ permissions: { send: [{ room: '*' }], receive: [{ room: 'ITB-**' }], deny: { send: [], receive: [{ room: 'ITB-9*' }] } } });
    const { link, repeater } = await guarded([workspace(), key.entry]);
    const device = await joins(repeater, key.secret);
    device.socket.send('{"rooms":["*","ITB-*","ITB-90*","JFSB-1"],"create":true}');
    await eventually(() => device.controls.length === 1);
    expect(device.controls).toEqual([error('RECEIVE_DENIED', '*')]);
    for (const room of ['JFSB-1', 'ITB-901', 'ITB-1102']) link.send(`${room}\n{}`);
    await eventually(() => device.frames.length === 1);
    expect(device.texts()).toEqual(['ITB-1102\n{}']);
    expect(await repeater.metric(refusedTotal, 'RECEIVE_DENIED')).toBe(1);
  });

  test('of the hub by the send list is what its key may receive, whatever id it joined with, and comes once', async () => {
    const [deaf, hearing] = [site.issue({ permissions: { send: [{ room: '*' }] } }), site.issue({ permissions: { send: [{ room: '*' }], receive: [{ room: '*', event: 'power' }] } })];
    const path = join(await site.folder(), 'send-list.json');
    await writeFile(path, JSON.stringify({ rooms: { '*': ['D1', 'D2'] } }));
    const { link, repeater } = await guarded([workspace(), deaf.entry, hearing.entry], { CARILLON_REPEATER_SEND_LIST_FILE: path });
    const [first, second] = [await joins(repeater, deaf.secret, '/connect/A/D1'), await joins(repeater, hearing.secret, '/connect/B/D2')];
    second.socket.send('{"rooms":["*"],"create":true}');
    second.send('B\nsubscribed');
    await eventually(() => link.frames.length === 1);
    const frames = [named('ITB-1101', 'power'), named('ITB-1101', 'volume'), 'ITB-1101\nno JSON', named('ITB-1102', 'power')];
    for (const frame of frames) link.send(frame);
    await eventually(() => second.frames.length === 2);
    expect([first.texts(), second.texts()]).toEqual([[], [frames[0], frames[3]]]);
    expect(await repeater.metric('carillon_repeater_dropped_events_total', 'denied')).toBe(6);
  });

  test('changes with its permissions from the next event on', async () => {
    const key = site.issue({ permissions: { send: [{ room: '*' }], receive: [{ room: '*' }] } });
    const { hub, link, repeater } = await guarded([workspace(), key.entry]);
    const [speaker, listener] = [await joins(repeater, key.secret), await joins(repeater, key.secret)];
    speaker.send('ITB-1101\n1');
    await eventually(() => listener.frames.length === 1);
    const seq = await repeater.metric('carillon_repeater_access_seq');
    hub.put({ ...key.entry, permissions: { ...key.entry.permissions, send: [{ room: 'ITB-1101' }], receive: [] } });
    await eventually(async () => (await repeater.metric('carillon_repeater_access_seq')) > seq);
    speaker.send('ITB-1101\n2');
    speaker.send('ITB-1102\n3');
    await eventually(() => speaker.controls.length === 1);
    hub.put(key.entry);
    await eventually(async () => (await repeater.metric('carillon_repeater_access_seq')) > seq + 1);
    speaker.send('ITB-1101\n4');
    await eventually(() => listener.frames.length === 2);
    expect([listener.texts(), link.texts()]).toEqual([['ITB-1101\n1', 'ITB-1101\n4'], ['ITB-1101\n1', 'ITB-1101\n2', 'ITB-1101\n4']]);
    expect([speaker.closed(), listener.closed()]).toEqual([undefined, undefined]);
  });

  test('is of as many subscriptions as its key may have over all connections', async () => {
    const key = site.issue({ limits: { rooms: 2 } });
    const { repeater } = await guarded([workspace(), key.entry]);
    const [first, second] = [await joins(repeater, key.secret), await joins(repeater, key.secret)];
    first.socket.send('{"rooms":["a","b","a"],"create":true}');
    first.send('ITB-1101\nafter');
    await eventually(() => second.frames.length === 1);
    second.socket.send('{"rooms":["c"],"create":true}');
    await eventually(() => second.controls.length === 1);
    expect([first.controls, second.controls]).toEqual([[], [error('ROOM_LIMIT_REACHED', 'c')]]);
    first.socket.send('{"rooms":["b","b","never"],"create":false}');
    first.send('ITB-1101\nafter');
    await eventually(() => second.frames.length === 2);
    second.socket.send('{"rooms":["c","d"],"create":true}');
    await eventually(() => second.controls.length === 2);
    expect(second.controls[1]).toEqual(error('ROOM_LIMIT_REACHED', 'd'));
    await Promise.all([first.close(), second.close()]);
    await eventually(async () => (await repeater.metric('carillon_repeater_devices')) === 0);
    const third = await joins(repeater, key.secret);
    third.socket.send('{"rooms":["e","f","g"],"create":true}');
    await eventually(() => third.controls.length === 1);
    expect(third.controls).toEqual([error('ROOM_LIMIT_REACHED', 'g')]);
  });
});

describe('the end of a key', () => {
  test('closes its connections within a second of the news, and no others', async () => {
    const [gone, kept] = [site.issue(), site.issue()];
    const { hub, repeater } = await guarded([workspace(), gone.entry, kept.entry]);
    const [first, second, other] = [await joins(repeater, gone.secret), await joins(repeater, gone.secret), await joins(repeater, kept.secret)];
    hub.take(gone.entry);
    await eventually(() => first.closed() !== undefined && second.closed() !== undefined, { timeoutMs: 1_000 });
    expect([first.closed(), second.closed(), other.closed()]).toEqual([{ code: 4513, reason: 'ACCESS_KEY_REVOKED' }, { code: 4513, reason: 'ACCESS_KEY_REVOKED' }, undefined]);
    expect(await site.refusedJoin(repeater, `/k/${gone.secret}/connect/ITB-1101/D`)).toEqual([401, 'ACCESS_KEY_INVALID']);
    await eventually(async () => (await repeater.metric(refusedTotal, 'ACCESS_KEY_REVOKED')) === 2);
  });

  test('is the end of what waits for it too', async () => {
    const [gone, kept] = [site.issue(), site.issue()];
    const { hub, repeater } = await guarded([workspace(), gone.entry, kept.entry]);
    const [slow, speaker, listener] = [await joins(repeater, gone.secret), await joins(repeater, kept.secret), await joins(repeater, kept.secret)];
    slow.socket.pause();
    const frames = Array.from({ length: 100 }, (_, n) => `ITB-1101\n${n} ${'x'.repeat(100_000)}`);
    // More than the kernel takes for a peer that reads nothing, and less than its lane.
    for (const [at, frame] of frames.entries()) {
      speaker.send(frame);
      await eventually(() => listener.frames.length === at + 1, { intervalMs: 1 });
      if ((await repeater.metric('carillon_repeater_lane_bytes')) > 1_000_000) break;
    }
    expect(await repeater.metric('carillon_repeater_lane_bytes')).toBeGreaterThan(1_000_000);
    hub.take(gone.entry);
    await eventually(async () => (await repeater.metric('carillon_repeater_lane_bytes')) === 0);
    slow.socket.resume();
    await eventually(() => slow.closed() !== undefined);
    expect([slow.closed()?.code, slow.frames.length < listener.frames.length - 9]).toEqual([4513, true]);
    expect(await repeater.metric('carillon_repeater_dropped_events_total', 'peer-gone')).toBe(listener.frames.length - slow.frames.length);
  });

  test('refuses what is still on its way', async () => {
    const key = site.issue();
    const { hub, link, repeater } = await guarded([workspace(), key.entry]);
    const [host, port] = repeater.host.split(':');
    const socket = connect(Number(port), host);
    let answer = '';
    socket.on('data', (piece) => (answer += piece.toString()));
    const body = eventOf('ITB-1101');
    socket.write(`POST /send HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Access-Key: ${key.secret}\r\nExpect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`);
    await eventually(() => answer.includes('100 Continue'));
    hub.take(key.entry);
    await eventually(async () => (await repeater.metric('carillon_repeater_access_seq')) === 3);
    socket.write(body);
    await eventually(() => answer.includes('ACCESS_KEY_REVOKED'));
    socket.destroy();
    expect([answer.includes('HTTP/1.1 401'), link.frames]).toEqual([true, []]);
  });

  test('of a secret, or of the anonymous key, refuses what is still on its way too', async () => {
    const [key, next, anonymous] = [site.issue(), site.issue(), site.issue()];
    const { hub, link, repeater } = await guarded([workspace({ anonymousKeyId: anonymous.entry.id }), key.entry, anonymous.entry]);
    const [host, port] = repeater.host.split(':');
    const body = eventOf('ITB-1101');
    const begin = async (header: string): Promise<{ readonly end: () => void; readonly answer: () => string }> => {
      const socket = connect(Number(port), host);
      let answer = '';
      socket.on('data', (piece) => (answer += piece.toString()));
      socket.write(`POST /send HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${header}Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`);
      await eventually(() => answer.includes('100 Continue'));
      return { end: () => void socket.write(body), answer: () => answer };
    };
    const sending = [await begin(`X-Access-Key: ${key.secret}\r\n`), await begin('')];
    const seq = await repeater.metric('carillon_repeater_access_seq');
    hub.put({ ...key.entry, secrets: next.entry.secrets });
    hub.put(workspace());
    await eventually(async () => (await repeater.metric('carillon_repeater_access_seq')) === seq + 2);
    for (const { end } of sending) end();
    await eventually(() => sending[0]?.answer().includes('ACCESS_KEY_INVALID') === true && sending[1]?.answer().includes('ACCESS_KEY_REQUIRED') === true);
    expect(link.frames).toEqual([]);
  });

  test('of a secret that was rotated out ends what it opened', async () => {
    const [key, next] = [site.issue(), site.issue()];
    const { hub, repeater } = await guarded([workspace(), key.entry]);
    const device = await joins(repeater, key.secret);
    hub.put({ ...key.entry, secrets: [...next.entry.secrets, ...key.entry.secrets] });
    await site.device(repeater, `/k/${key.secret}/connect/ITB-1101/E`);
    expect(device.closed()).toBeUndefined();
    hub.put({ ...key.entry, secrets: next.entry.secrets });
    await eventually(() => device.closed()?.code === 4511);
  });

  test('comes by itself when its time is over', async () => {
    const key = site.issue({ expiresAtMs: Date.now() + 1_500 });
    const { repeater } = await guarded([workspace(), key.entry]);
    const device = await joins(repeater, key.secret);
    await eventually(() => device.closed() !== undefined, { timeoutMs: 5_000 });
    expect(device.closed()).toEqual({ code: 4512, reason: 'ACCESS_KEY_EXPIRED' });
    expect(await site.refusedJoin(repeater, `/k/${key.secret}/connect/ITB-1101/D`)).toEqual([401, 'ACCESS_KEY_EXPIRED']);
  });
});

test('two repeaters with keys: one dials the other with its own, and what it may not send there is refused', async () => {
  const toCentral = site.issue({ kind: 'repeater', permissions: { send: [{ room: 'ITB-**' }] } });
  const listening = site.issue();
  const central = await guarded([workspace(), toCentral.entry, listening.entry], { CARILLON_REPEATER_ID: 'CENTRAL' });
  const listener = await joins(central.repeater, listening.secret);
  const near = await guarded([workspace()], { CENTRAL_REPEATER_ADDRESSES: `ws://${central.repeater.host}/k/${toCentral.secret}` });
  for (const room of ['ITB-1101', 'JFSB-1', 'ITB-1102']) near.link.send(`${room}\n{}`);
  await eventually(() => central.link.frames.length === 2 && listener.frames.length === 1);
  expect([central.link.texts(), listener.texts()]).toEqual([['ITB-1101\n{}', 'ITB-1102\n{}'], ['ITB-1101\n{}']]);
  await eventually(async () => (await near.repeater.metric('carillon_repeater_target_failures_total', 'socket')) === 1);
  expect(near.repeater.logs.some((line) => line.includes('SEND_DENIED') && line.includes('/k/[redacted]'))).toBe(true);
  const status = await site.call(central.repeater, `/status?key=${listening.secret}`);
  expect(status.text).toContain('"ITB-1101-CP1"');
});
