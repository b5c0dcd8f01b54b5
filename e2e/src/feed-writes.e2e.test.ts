import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { connectNats, type Bus } from '@carillon/bus';
import { FEED_BUCKET, feedRecord, type FeedRecord } from '@carillon/schemas';
import { eventually, stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { AccessSite } from './access-site.ts';

/**
 * Writers that never stop, and kill -9 of config-manager in their midst. A writer that got no answer tries again with the
 * same Idempotency-Key. In the end the feed holds just what the answers said. Printed: writes a second while it ran; the
 * bound on them is the benchmark's (`npm run bench -- --case config`), which has the machine to itself.
 */
const WRITERS = 8;
const SECONDS = 12;
const KILLS = 2;

let released: ReturnType<typeof trackResources>;
let site: AccessSite;
let bus: Bus;

beforeEach(async () => {
  released = trackResources();
  site = await AccessSite.start({ hubs: 0 });
  bus = connectNats({ servers: [site.nats.url], name: 'reader', log: () => undefined });
});

afterEach(async () => {
  await bus.close();
  await site.stop();
  await stopAll();
  await released();
});

/** Device id → address, as the last answer said. */
type Written = Map<string, string>;

async function writeOnce(site: AccessSite, token: string, device: { readonly id: string | undefined; readonly name: string; readonly address: string }): Promise<string> {
  const body = device.id === undefined
    ? { room: 'ITB-1101', name: device.name, repeater: 'CP1', address: device.address }
    : { address: device.address };
  const path = `/workspaces/default/devices${device.id === undefined ? '' : `/${device.id}`}`;
  const key = randomUUID();
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${site.port}/api/v1${path}`, {
        method: device.id === undefined ? 'POST' : 'PATCH', body: JSON.stringify(body),
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...(device.id === undefined ? { 'idempotency-key': key } : {}) },
      });
      const text = await response.text();
      if (response.ok) return (JSON.parse(text) as { id: string }).id;
      // Of the first try, which died with its process or is about to end.
      if (response.status < 500 && !text.includes('IDEMPOTENCY_IN_PROGRESS')) throw new Error(`${response.status} ${text}`);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await sleep(50);
  }
}

async function write(site: AccessSite, token: string, options: { readonly writer: number; readonly written: Written; readonly signal: AbortSignal; readonly counted: () => void }): Promise<void> {
  const mine: string[] = [];
  for (let count = 0; !options.signal.aborted; count += 1) {
    const id = count % 2 === 1 ? mine[count % mine.length] : undefined;
    const address = `http://10.0.0.1/${options.writer}/${count}`;
    const made = await writeOnce(site, token, { id, name: `d-${options.writer}-${count}`, address });
    if (id === undefined) mine.push(made);
    options.written.set(made, address);
    options.counted();
  }
}

/** What the bucket holds of devices now. */
async function readBucket(bus: Bus): Promise<ReadonlyMap<string, FeedRecord>> {
  const records = new Map<string, FeedRecord>();
  await new Promise<void>((resolve) => {
    const watch = bus.keyValues(FEED_BUCKET).watch({
      entry: ({ key, value }) => void records.set(key, feedRecord.parse(JSON.parse(Buffer.from(value).toString('utf8')))),
      synced: () => {
        resolve();
        void watch.stop();
      },
    });
  });
  return records;
}

describe('config written without a pause', () => {
  it('reaches the feed completely, across kill -9 of config-manager', async () => {
    const { token } = await site.call<{ token: string }>('POST', '/sessions', { username: 'admin', password: site.secrets[0] });
    const written: Written = new Map();
    const stop = new AbortController();
    let count = 0;
    let aliveMs = 0;
    const writers = Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(site, token, { writer, written, signal: stop.signal, counted: () => (count += 1) })));
    for (let kill = 0; kill <= KILLS; kill += 1) {
      const begun = performance.now();
      await sleep((SECONDS * 1_000) / (KILLS + 1));
      aliveMs += performance.now() - begun;
      if (kill === KILLS) break;
      await site.killManager();
      await site.startManager();
    }
    stop.abort();
    await writers;
    const perSecond = Math.round(count / (aliveMs / 1_000));

    const lost = async (): Promise<readonly string[]> => {
      const records = await readBucket(bus);
      return [...written].filter(([id, address]) => {
        const entry = records.get(`default.device.${id}`)?.entry;
        return entry?.type !== 'device' || entry.address !== address;
      }).map(([id]) => id);
    };
    await eventually(async () => expect(await lost()).toEqual([]), { timeoutMs: 20_000, what: 'the feed to hold what was written' });
    const feed = await site.call<{ head: number; published: number }>('GET', '/feed');
    process.stdout.write(`${JSON.stringify({ case: 'config-writes', writes: count, perSecond, kills: KILLS, lost: 0, head: feed.head })}\n`);
    expect(count).toBeGreaterThan(WRITERS);
  });
});
