import { createHash } from 'node:crypto';

import { eventually, trackResources } from '@carillon/testing';
import { isUlid } from '@carillon/wire';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { closeAll, joinRooms, startTestHub, type Answer, type TestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const EVENT = { 'affected-room': { roomID: 'A' }, key: 'power', value: 'on' };
const CLOUD = { specversion: '1.0', id: 'c1', source: '/doors/17', type: 'door.opened', room: 'A' };
const CLOUD_HEADERS = { 'ce-specversion': '1.0', 'ce-id': 'c1', 'ce-source': '/doors/17', 'ce-type': 'door.opened', 'ce-room': 'A' };
const NDJSON = { 'content-type': 'application/x-ndjson' };
const STRUCTURED = { 'content-type': 'application/cloudevents+json' };
const JSON_TYPE = { 'content-type': 'application/json' };

const publish = (hub: TestHub, body: unknown, { query = '', headers = JSON_TYPE }: { readonly query?: string; readonly headers?: Readonly<Record<string, string>> } = {}): Promise<Answer> => hub.call('POST', `/events${query}`, { body, headers });
const told = ({ status, text }: Answer): unknown => [status, JSON.parse(text)];
const linesOf = ({ text }: Answer): Record<string, unknown>[] => text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>);
/** Bodies of the log of a room, in order. */
async function kept(hub: TestHub, room = 'A'): Promise<unknown[]> {
  const { events } = JSON.parse((await hub.call('GET', `/rooms/${room}/history?limit=1000`)).text) as { events: { body: unknown }[] };
  return events.map(({ body }) => body);
}

describe('POST /events', () => {
  it('answers when the event is stored, with its id and place, and routes the body as it came', async () => {
    const hub = await startTestHub({ log: true });
    const listener = await joinRooms(hub, 'A');
    const body = ` {"affected-room":{"roomID":"A"},"n":1.0}\n`;
    const answer = await publish(hub, body);
    expect([answer.headers.get('content-type'), told(answer)]).toEqual(['application/json', [200, { id: expect.any(String) as string, room: 'A', class: 'stored', seq: 1 }]]);
    expect(isUlid((JSON.parse(answer.text) as { id: string }).id)).toBe(true);
    await eventually(() => listener.frames.includes(`A\n${body}`));
    expect(await hub.metric('carillon_hub_events_received_total', 'http')).toBe(1);
  });

  it('stores one event of an id once, and refuses another of that id', async () => {
    const hub = await startTestHub({ log: true });
    const named = { ...JSON_TYPE, 'carillon-event-id': 'door-17' };
    expect(told(await publish(hub, EVENT, { headers: named }))).toEqual([200, { id: 'door-17', room: 'A', class: 'stored', seq: 1 }]);
    expect(told(await publish(hub, EVENT, { headers: named }))).toEqual([200, { id: 'door-17', room: 'A', class: 'stored', seq: 1 }]);
    expect(await publish(hub, { ...EVENT, value: 'off' }, { headers: named })).toMatchObject({ status: 409, code: 'EVENT_ID_REUSED' });
    expect(await publish(hub, EVENT, { headers: named, query: '?room=B' })).toMatchObject({ status: 409, code: 'EVENT_ID_REUSED' });
    expect(await kept(hub)).toEqual([EVENT]);
    expect(await hub.metric('carillon_hub_refused_total', 'EVENT_ID_REUSED')).toBe(2);
  });

  it('takes any JSON for the room that its query names', async () => {
    const hub = await startTestHub({ log: true });
    for (const body of ['7', '"x"', '{"affected-room":{"roomID":"OTHER"}}', '[null]']) expect(told(await publish(hub, body, { query: '?room=A' }))).toMatchObject([200, { room: 'A' }]);
    expect(await kept(hub)).toEqual([7, 'x', { 'affected-room': { roomID: 'OTHER' } }, [null]]);
    expect(told(await publish(hub, '{}', { query: '?room=site%2FZo%C3%AB+1' }))).toMatchObject([200, { room: 'site/Zoë 1' }]);
  });

  it.each(['application/json; charset=utf-8', 'Application/JSON', 'text/plain;charset=UTF-8', 'application/x-www-form-urlencoded'])('takes a body of which its sender says %s', async (type) => {
    const hub = await startTestHub({ log: true });
    expect(told(await publish(hub, EVENT, { headers: { 'content-type': type } }))).toMatchObject([200, { room: 'A', seq: 1 }]);
  });

  it('answers for a live room too, without a place', async () => {
    const hub = await startTestHub();
    const listener = await joinRooms(hub, 'A');
    expect(told(await publish(hub, EVENT, { headers: { ...JSON_TYPE, 'carillon-event-id': 'x' } }))).toEqual([200, { id: 'x', room: 'A', class: 'live', seq: 0 }]);
    expect(told(await publish(hub, EVENT, { headers: { ...JSON_TYPE, 'carillon-event-id': 'x' } }))).toEqual([200, { id: 'x', room: 'A', class: 'live', seq: 0 }]);
    await publish(hub, 'null', { query: '?room=A' });
    await eventually(() => listener.frames.includes('A\nnull'));
    expect(listener.frames).toEqual([`A\n${JSON.stringify(EVENT)}`, 'A\nnull']);
  });

  it.each<[string, string, unknown, Readonly<Record<string, string>>, number, string]>([
    ['no JSON', '', 'hello', {}, 400, 'JSON_INVALID'], ['no JSON for a room', '?room=A', '{', {}, 400, 'JSON_INVALID'], ['nothing', '?room=A', '', {}, 400, 'JSON_INVALID'],
    ['invalid UTF-8', '?room=A', Uint8Array.of(0x22, 0xff, 0x22), {}, 400, 'BODY_INVALID_UTF8'], ['a list', '', '[]', {}, 400, 'EVENT_INVALID'], ['no room', '', '{}', {}, 400, 'ROOM_NAME_INVALID'],
    ['__proto__', '?room=A', '{"__proto__":1}', {}, 400, 'JSON_KEY_FORBIDDEN'], ['depth', '?room=A', `${'['.repeat(65)}${']'.repeat(65)}`, {}, 400, 'JSON_TOO_DEEP'],
    ['* as its room', '?room=*', '{}', {}, 400, 'ROOM_NAME_INVALID'], ['an empty room', '?room=', '{}', {}, 400, 'ROOM_NAME_INVALID'], ['a tab in its room', '?room=A%09id=1', '{}', {}, 400, 'ROOM_NAME_INVALID'],
    ['a room of no UTF-8', '?room=%ff', '{}', {}, 400, 'REQUEST_MALFORMED'], ['two rooms', '?room=A&room=B', '{}', {}, 400, 'REQUEST_MALFORMED'],
    ['an id with a blank', '?room=A', '{}', { 'carillon-event-id': 'a b' }, 400, 'REQUEST_MALFORMED'], ['an id of 65', '?room=A', '{}', { 'carillon-event-id': 'x'.repeat(65) }, 400, 'REQUEST_MALFORMED'], ['an empty id', '?room=A', '{}', { 'carillon-event-id': '' }, 400, 'REQUEST_MALFORMED'],
    ['another type', '?room=A', '<a/>', { 'content-type': 'text/xml' }, 415, 'MEDIA_TYPE_UNSUPPORTED'], ['CloudEvents in another format', '?room=A', 'x', { 'content-type': 'application/cloudevents+avro', ...CLOUD_HEADERS }, 415, 'MEDIA_TYPE_UNSUPPORTED'],
    ['a CloudEvent without a type', '', { ...CLOUD, type: undefined }, STRUCTURED, 400, 'EVENT_INVALID'], ['a CloudEvent without a room', '', { ...CLOUD, room: undefined }, STRUCTURED, 400, 'ROOM_NAME_INVALID'],
    ['a CloudEvent of another version', '', '1', { ...CLOUD_HEADERS, 'ce-specversion': '0.3' }, 400, 'EVENT_INVALID'], ['a CloudEvent with half a source', '', '1', { ...CLOUD_HEADERS, 'ce-source': '%C3' }, 400, 'EVENT_INVALID'],
    ['a batch that is no list', '', CLOUD, { 'content-type': 'application/cloudevents-batch+json' }, 400, 'EVENT_INVALID'], ['half a batch', '', `[${JSON.stringify(CLOUD)}`, { 'content-type': 'application/cloudevents-batch+json' }, 400, 'JSON_INVALID'],
  ])('with %s is refused', async (_, query, body, headers, status, code) => {
    const hub = await startTestHub({ log: true });
    expect(await publish(hub, body, { query, headers: { ...JSON_TYPE, ...headers } })).toMatchObject({ status, code });
    expect(await hub.metric('carillon_hub_refused_total', code)).toBe(1);
    expect(await hub.metric('carillon_hub_events_received_total', 'http')).toBe(0);
  });

  it('takes what fits a frame, also after it has grown', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_FRAME_MAX_BYTES: '10000' } });
    const binary = { ...CLOUD_HEADERS, 'content-type': 'image/png' };
    expect(await publish(hub, `"${'x'.repeat(10_000)}"`, { query: '?room=A' })).toMatchObject({ status: 413, code: 'BODY_TOO_LARGE' });
    expect(await publish(hub, 'x'.repeat(9_000), { headers: binary })).toMatchObject({ status: 413, code: 'EVENT_TOO_LARGE' });
    expect((await publish(hub, 'x'.repeat(6_000), { headers: binary })).status).toBe(200);
  });

  it('is for those who may send', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const sender = await feed.key('messenger', { permissions: { send: ['A', { room: 'C', event: 'door.opened' }], receive: [] } });
    const [service, repeater] = [await feed.key('service'), await feed.key('repeater')];
    await feed.reached(hub);
    expect(await publish(hub, EVENT)).toMatchObject({ status: 401, code: 'ACCESS_KEY_REQUIRED' });
    expect(await publish(hub, EVENT, { headers: repeater.bearer })).toMatchObject({ status: 403, code: 'ACCESS_KIND_REFUSED' });
    expect((await publish(hub, EVENT, { headers: { ...JSON_TYPE, ...service.bearer } })).status).toBe(200);
    const batch = ['A', 'B', 'C'].map((roomID) => JSON.stringify({ 'affected-room': { roomID } })).join('\n');
    expect(linesOf(await publish(hub, batch, { headers: { ...NDJSON, ...sender.bearer } })).map(({ code }) => code)).toEqual([undefined, 'SEND_DENIED', 'SEND_DENIED']);
    expect((await publish(hub, { ...CLOUD, room: 'C' }, { headers: { ...STRUCTURED, ...sender.bearer } })).status).toBe(200);
    expect(await publish(hub, { ...CLOUD, room: 'C', type: 'door.closed' }, { headers: { ...STRUCTURED, ...sender.bearer } })).toMatchObject({ status: 403, code: 'SEND_DENIED' });
  });
});

/** What a CloudEvent is called here: by its source and id together. */
const nameOf = (source: string, id: string): string => createHash('sha256').update(`${source}\n${id}`).digest('base64url');

describe('a CloudEvent', () => {
  it('in JSON is kept as it came, under a name of its source and id', async () => {
    const hub = await startTestHub({ log: true });
    const listener = await joinRooms(hub, 'A', 'S');
    const body = `{ "specversion":"1.0","id":"c1","source":"/s","type":"t","room":"A","subject":"S","data":1.0 }`;
    expect(told(await publish(hub, body, { headers: STRUCTURED }))).toEqual([200, { id: nameOf('/s', 'c1'), room: 'A', class: 'stored', seq: 1 }]);
    expect(told(await publish(hub, { ...CLOUD, id: 'c2', room: undefined, subject: 'S' }, { headers: STRUCTURED }))).toMatchObject([200, { id: nameOf(CLOUD.source, 'c2'), room: 'S' }]);
    expect(told(await publish(hub, { ...CLOUD, id: 'c3' }, { headers: STRUCTURED, query: '?room=Q' }))).toMatchObject([200, { id: nameOf(CLOUD.source, 'c3'), room: 'Q' }]);
    await eventually(() => listener.frames.length === 2);
    expect(listener.frames[0]).toBe(`A\n${body}`);
  });

  it('in headers is kept in JSON', async () => {
    const hub = await startTestHub({ log: true });
    expect(told(await publish(hub, '{"open":true}', { headers: { ...CLOUD_HEADERS, 'ce-myextension': 'Zo%C3%AB', 'content-type': 'application/json' } }))).toEqual([200, { id: nameOf(CLOUD.source, 'c1'), room: 'A', class: 'stored', seq: 1 }]);
    expect(await kept(hub)).toEqual([{ ...CLOUD, myextension: 'Zoë', datacontenttype: 'application/json', data: { open: true } }]);
  });

  it('has the same id each time, and from another source another', async () => {
    const hub = await startTestHub({ log: true });
    const strange = { ...CLOUD, id: 'urn:uuid:é 1' };
    const hash = nameOf('/doors/17', 'urn:uuid:é 1');
    expect(told(await publish(hub, strange, { headers: STRUCTURED }))).toMatchObject([200, { id: hash, seq: 1 }]);
    expect(told(await publish(hub, strange, { headers: STRUCTURED }))).toMatchObject([200, { id: hash, seq: 1 }]);
    expect(told(await publish(hub, { ...strange, source: '/doors/18' }, { headers: STRUCTURED }))).toMatchObject([200, { id: expect.not.stringContaining(hash) as string, seq: 2 }]);
  });

  it('may come in a batch, each as it was written', async () => {
    const hub = await startTestHub({ log: true });
    const listener = await joinRooms(hub, 'A');
    const texts = ['{"specversion":"1.0","id":"b1","source":"/s","type":"t","room":"A","data":12345678901234567890}', '{"id":"b2"}', '{"specversion":"1.0","id":"b3","source":"/s","type":"t","room":"A","data":"],["}'];
    const answer = await publish(hub, `[ ${texts.join(' ,\n')} ]`, { headers: { 'content-type': 'application/cloudevents-batch+json' } });
    expect([answer.status, answer.headers.get('carillon-failed'), linesOf(answer)]).toEqual([200, '1', [{ line: 1, id: nameOf('/s', 'b1'), class: 'stored', seq: 1 }, { line: 2, code: 'EVENT_INVALID', detail: expect.any(String) as string }, { line: 3, id: nameOf('/s', 'b3'), class: 'stored', seq: 2 }]]);
    await eventually(() => listener.frames.length === 2);
    expect(listener.frames).toEqual([`A\n${texts[0]}`, `A\n${texts[2]}`]);
    expect(await publish(hub, '[]', { headers: { 'content-type': 'application/cloudevents-batch+json' } })).toMatchObject({ status: 200, text: '' });
  });
});

describe('a batch of lines', () => {
  it('is answered line by line, and one bad line stops no other', async () => {
    const hub = await startTestHub({ log: true });
    const body = Buffer.concat([Buffer.from('{"n":1}\r\n\n{"n":2\n"'), Buffer.from([0xff]), Buffer.from('"\n{"n":3}\n[1]\n  \n"last"')]);
    const answer = await publish(hub, body, { headers: NDJSON, query: '?room=A' });
    expect([answer.status, answer.headers.get('content-type'), answer.headers.get('carillon-failed')]).toEqual([200, 'application/x-ndjson', '3']);
    expect(linesOf(answer).map(({ line, seq, code }) => [line, seq ?? code])).toEqual([[1, 1], [3, 'JSON_INVALID'], [4, 'BODY_INVALID_UTF8'], [5, 2], [6, 3], [7, 'JSON_INVALID'], [8, 4]]);
    expect(await kept(hub)).toEqual([{ n: 1 }, { n: 3 }, [1], 'last']);
    expect(await hub.metric('carillon_hub_refused_total', 'JSON_INVALID')).toBe(2);
  });

  it('keeps its order over many turns', async () => {
    const hub = await startTestHub({ log: true });
    const listener = await joinRooms(hub, '*');
    const bodies = Array.from({ length: 3_000 }, (_, n) => JSON.stringify({ 'affected-room': { roomID: `R-${n % 3}` }, value: `${n}` }));
    const lines = linesOf(await publish(hub, bodies.join('\n'), { headers: NDJSON }));
    expect(lines.map(({ seq }) => seq)).toEqual(bodies.map((_, n) => n + 1));
    await eventually(() => listener.frames.length === bodies.length);
    expect(listener.frames).toEqual(bodies.map((body, n) => `R-${n % 3}\n${body}`));
  });

  it('that is sent again with its id is stored once; a line that changed is refused', async () => {
    const hub = await startTestHub({ log: true });
    const headers = { ...NDJSON, 'carillon-event-id': 'night-7' };
    const first = linesOf(await publish(hub, '1\n2\n3', { headers, query: '?room=A' }));
    expect(first.map(({ id }) => id)).toEqual(['night-7-1', 'night-7-2', 'night-7-3']);
    const again = linesOf(await publish(hub, '1\n20\n3\n4', { headers, query: '?room=A' }));
    expect(again.map(({ id, seq, code }) => [id, seq ?? code])).toEqual([['night-7-1', 1], ['night-7-2', 'EVENT_ID_REUSED'], ['night-7-3', 3], ['night-7-4', 4]]);
    expect(await kept(hub)).toEqual([1, 2, 3, 4]);
    expect(await publish(hub, '1\n', { headers: { ...NDJSON, 'carillon-event-id': 'x'.repeat(63) }, query: '?room=A' })).toMatchObject({ status: 400, code: 'REQUEST_MALFORMED' });
  });

  it('of too many is refused, and nothing of it is taken', async () => {
    const hub = await startTestHub({ log: true });
    expect(await publish(hub, '1\n'.repeat(10_001), { headers: NDJSON, query: '?room=A' })).toMatchObject({ status: 413, code: 'BODY_TOO_LARGE' });
    expect(await kept(hub)).toEqual([]);
    expect(linesOf(await publish(hub, '1\n'.repeat(10_000), { headers: NDJSON, query: '?room=A' })).length).toBe(10_000);
    expect(await publish(hub, '', { headers: NDJSON })).toMatchObject({ status: 200, text: '' });
  });

  it('ends where the right to it does', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const key = await feed.key('messenger', { limits: { eventsPerSecond: 5 } });
    await feed.reached(hub);
    const lines = linesOf(await publish(hub, '1\n'.repeat(100), { headers: { ...NDJSON, ...key.bearer }, query: '?room=A' }));
    expect(lines.slice(0, 5).every(({ code }) => code === undefined)).toBe(true);
    expect(lines.at(-1)).toMatchObject({ line: 100, code: 'EVENT_RATE_EXCEEDED' });
  });
});
