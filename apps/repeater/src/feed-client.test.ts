import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { AccessCopy } from '@carillon/access';
import { createLogger } from '@carillon/runtime';
import { feedKey, type FeedEntry } from '@carillon/schemas';
import { eventually, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { FeedClient } from './feed-client.ts';
import { FeedRecords } from './feed-records.ts';
import { device, issueKey, workspace } from './hub-stub.fixture.ts';
import { RepeaterCounts } from './metrics.ts';

let noLeaks: ReturnType<typeof trackResources>;
const closers: (() => Promise<unknown>)[] = [];
beforeEach(() => void (noLeaks = trackResources()));
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await noLeaks();
});

/** A server whose every answer a test writes by hand. */
async function feedServer(answer: (response: ServerResponse, asked: number) => void): Promise<{ readonly url: string; readonly asked: () => number }> {
  let asked = 0;
  const server = createServer((_request, response) => answer(response, (asked += 1)));
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/access/feed`, asked: () => asked };
}

function client(url: string, capMs = 40) {
  const lines: string[] = [];
  const log = createLogger({ name: 'test', version: '0', level: 'debug', output: { write: (line) => lines.push(line) } });
  const copy = new AccessCopy({ now: Date.now });
  const counts = new RepeaterCounts();
  const records = new FeedRecords({ copy, counts, log });
  const feed = new FeedClient({ url, headers: {}, records, log, backoff: { firstMs: 10, capMs, factor: 2, random: () => 0.5 } });
  closers.push(() => feed.stop());
  feed.start();
  return { copy, counts, feed, lines, records, warnings: () => lines.filter((line) => line.includes('"level":"warn"')) };
}

const begin = (response: ServerResponse): ServerResponse => response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
const say = (event: string, data: unknown): string => `event: ${event}\ndata: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const record = (entry: FeedEntry, seq: number, key = feedKey(entry)): string => say('record', { key, record: { seq, entry } });

const key = issueKey();

describe('a feed', () => {
  test('fills the copy, and is connected once it said that this was all', async () => {
    let response: ServerResponse | undefined;
    const server = await feedServer((answer) => begin((response = answer)).write(record(workspace(), 1) + record(key.entry, 2)));
    const { copy, feed, records } = client(server.url);
    expect(records.workspaceId).toBe('default');
    await eventually(() => copy.seq === 2);
    expect([copy.authenticate(key.secret).ok, records.workspaceId, feed.connected]).toEqual([true, 'w1', false]);
    response?.write(say('synced', { seq: 2 }));
    await eventually(() => feed.connected);
    response?.write(say('beat', { seq: 2 }) + say('record', { key: feedKey(key.entry), record: { seq: 3, entry: null } }));
    await eventually(() => copy.seq === 3);
    expect(copy.authenticate(key.secret)).toEqual({ ok: false, code: 'ACCESS_KEY_INVALID' });
  });

  test('that ends is opened again, and what it told is kept', async () => {
    const server = await feedServer((response) => begin(response).end(record(workspace(), 1) + say('synced', { seq: 1 })));
    const { copy, warnings } = client(server.url);
    await eventually(() => server.asked() >= 4);
    expect([...copy.records()]).toHaveLength(1);
    expect(warnings()).toHaveLength(1);
  });

  test('that says nothing for five seconds is given up', async () => {
    const server = await feedServer((response, asked) => begin(response).write(asked === 1 ? `${say('synced', { seq: 0 })}:\n` : say('synced', { seq: 0 })));
    const { feed, warnings } = client(server.url);
    await eventually(() => feed.connected);
    await eventually(() => server.asked() === 2, { timeoutMs: 9_000 });
    expect(warnings().join()).toContain('nothing was heard for 5000 ms');
    await eventually(() => feed.connected);
  }, 20_000);

  test('that beats is kept', async () => {
    let response: ServerResponse | undefined;
    const server = await feedServer((answer) => begin((response = answer)).write(say('synced', { seq: 0 })));
    const { feed } = client(server.url);
    const beats = setInterval(() => response?.write(say('beat', { seq: 0 })), 1_000);
    closers.push(() => Promise.resolve(clearInterval(beats)));
    await eventually(() => feed.connected);
    const startedAtMs = performance.now();
    await eventually(() => performance.now() - startedAtMs > 6_000, { timeoutMs: 9_000 });
    expect([server.asked(), feed.connected]).toEqual([1, true]);
  }, 20_000);
});

describe('a hub that has no feed for this repeater', () => {
  test.each([[401, 'ACCESS_KEY_INVALID'], [401, 'ACCESS_KEY_REQUIRED'], [403, 'ACCESS_KIND_REFUSED'], [404, 'ROUTE_NOT_FOUND']])('with %i %s is told of once, and asked again as seldom as the cap has it', async (status, code) => {
    const server = await feedServer((response) => response.writeHead(status).end(JSON.stringify({ code })));
    const { lines, warnings } = client(server.url, 60);
    await eventually(() => lines.filter((line) => line.includes(code)).length >= 3);
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toContain(`HTTP ${status} ${code}`);
    // Half of the cap, from the first time on: the wait is not worked up to.
    for (const line of lines.filter((one) => one.includes('nextTryMs'))) expect(JSON.parse(line)).toMatchObject({ nextTryMs: 30 });
  });

  test('but with a page of its own is not read as one', async () => {
    const server = await feedServer((response) => response.writeHead(200, { 'content-type': 'text/html' }).end(record(workspace(), 1)));
    const { copy, warnings } = client(server.url);
    await eventually(() => server.asked() >= 2);
    expect([copy.seq, warnings().length]).toEqual([0, 1]);
  });

  test('but fails is asked again sooner', async () => {
    const server = await feedServer((response) => response.writeHead(503).end());
    const { lines } = client(server.url, 10_000);
    await eventually(() => server.asked() >= 3);
    expect(JSON.parse(lines.find((line) => line.includes('nextTryMs')) ?? '')).toMatchObject({ nextTryMs: 5 });
  });
});

describe('a feed that lies', () => {
  test('changes nothing of another workspace', async () => {
    const stranger = issueKey({ workspaceId: 'w2' });
    const server = await feedServer((response) =>
      begin(response).write([record(workspace(), 1), record(workspace({ id: 'w2', workspaceId: 'w2' }), 2), record(stranger.entry, 3), say('record', { key: feedKey(stranger.entry), record: { seq: 9, entry: null } }), say('synced', { seq: 3 })].join('')));
    const { copy, counts, feed, lines } = client(server.url);
    await eventually(() => feed.connected);
    expect(counts.feedRefused.get('stranger')).toBe(3);
    expect([copy.seq, copy.workspace('w2'), copy.authenticate(stranger.secret).ok]).toEqual([1, undefined, false]);
    expect(lines.filter((line) => line.includes('"level":"error"'))).toHaveLength(1);
  });

  test('in its records is not believed, and read on', async () => {
    const lies = [
      say('record', 'no JSON'), say('record', 'null'), say('record', []), say('record', {}), say('record', { key: 7, record: { seq: 1, entry: null } }), say('record', { key: 'w1.key.A' }),
      say('record', { key: 'w1.key', record: { seq: 1, entry: null } }), say('record', { key: 'w1.secret.A', record: { seq: 1, entry: null } }), say('record', { key: 'w1.key.A', record: { seq: 0, entry: null } }),
      say('record', { key: 'w1.key.A', record: { seq: 1, entry: { type: 'key' } } }), record(key.entry, 1, 'w1.key.other'), record(key.entry, 1, `w2.key.${key.entry.id}`),
      record(workspace({ id: 'w9' }), 1), record(device({ id: 'd', address: 'x' }), 1, 'w1.room.d'),
    ];
    const server = await feedServer((response) => begin(response).write([...lies, say('unheard of', {}), record(workspace(), 5), say('synced', { seq: 5 })].join('')));
    const { copy, counts, feed } = client(server.url);
    await eventually(() => feed.connected);
    expect(counts.feedRefused.get('malformed')).toBe(lies.length);
    expect([...copy.records()].map(([name]) => name)).toEqual(['w1.workspace.w1']);
  });

  test('by a line without an end is cut, and opened again', async () => {
    const server = await feedServer((response, asked) => {
      begin(response);
      if (asked > 1) response.write(say('synced', { seq: 0 }));
      else response.write(Buffer.concat([Buffer.from('data: '), Buffer.alloc(5_000_000, 0x61)]));
    });
    const { feed, warnings } = client(server.url);
    await eventually(() => feed.connected);
    expect(warnings().join()).toContain('a line of more than 4194304 bytes');
  });
});
