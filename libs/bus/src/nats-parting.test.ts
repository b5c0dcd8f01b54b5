import { eventually, startNatsCluster, stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Bus, BusLogLine } from './bus.ts';
import { askServer } from './jetstream-api.fixture.ts';
import { collectWatch } from './key-values.conformance.ts';
import { connectNats } from './nats-bus.ts';

const HEAL_TIMEOUT_MS = 60_000;
const bytes = (value: string): Uint8Array => Buffer.from(value, 'utf8');

describe('a bus on a server that is parted from the others', { timeout: 300_000 }, () => {
  let buses: Bus[];
  let released: () => Promise<void>;

  beforeEach(() => {
    buses = [];
    released = trackResources();
  });
  afterEach(async () => {
    await Promise.all(buses.map((bus) => bus.close()));
    await stopAll();
    await released();
  });

  function open(servers: readonly string[], log: (line: BusLogLine) => void = () => undefined): Bus {
    const bus = connectNats({ servers, name: 'parting', log });
    buses.push(bus);
    return bus;
  }

  it.each(['follows', 'leads'] as const)('goes on by another one while that lasts, when the server %s in the bucket of the feed', async (what) => {
    const cluster = await startNatsCluster(3, { jetstream: true, partitionable: true });
    const lines: BusLogLine[] = [];
    const bus = open(cluster.urls, (line) => lines.push(line));
    await eventually(() => bus.state === 'connected', { timeoutMs: HEAL_TIMEOUT_MS });
    const at = cluster.servers.findIndex(({ url }) => url.endsWith(String(lines.find(({ text }) => text === 'Connected to NATS')?.fields['server'])));
    const server = cluster.servers[at];
    if (server === undefined) throw new Error('no server');
    const others = open(cluster.urls.filter((_, index) => index !== at));
    await eventually(() => others.state === 'connected', { timeoutMs: HEAL_TIMEOUT_MS });
    const values = bus.keyValues('PARTED', { replicas: 3 });
    await values.put('a', bytes('1'));
    await eventually(async () => {
      const { cluster: { leader } } = await askServer<{ readonly cluster: { readonly leader?: string } }>(server, '$JS.API.STREAM.INFO.KV_PARTED');
      if (leader !== undefined && leader.endsWith(`-${server.port}`) === (what === 'leads')) return true;
      await askServer(server, '$JS.API.STREAM.LEADER.STEPDOWN.KV_PARTED');
      return false;
    }, { timeoutMs: HEAL_TIMEOUT_MS, intervalMs: 1_000, what: `the server to be one that ${what}` });
    const heard: string[] = [];
    await bus.subscribe('said.elsewhere', { deliver: ({ payload }) => heard.push(Buffer.from(payload).toString()) }).active;
    const { latest } = collectWatch(values);

    cluster.partitions[at]?.stall();
    const otherValues = others.keyValues('PARTED', { replicas: 3 });
    // Put again and again until the others have a leader.
    await eventually(() => otherValues.put('b', bytes('2')), { timeoutMs: HEAL_TIMEOUT_MS, what: 'the others to take a value' });
    await eventually(() => {
      others.publish('said.elsewhere', bytes('while parted'));
      return heard.length > 0 && latest.get('b') === '2';
    }, { timeoutMs: HEAL_TIMEOUT_MS, intervalMs: 100, what: 'what is said elsewhere to be heard' });

    expect(lines.map(({ fields }) => fields['reason'])).toContain('its server is parted from the others');
    await cluster.partitions[at]?.heal();
  });

  it('stays where nobody leads, and where there is nothing to tell by', async () => {
    const cluster = await startNatsCluster(3, { jetstream: true, partitionable: true });
    const lines: BusLogLine[] = [];
    const [plain, told] = [open(cluster.urls, (line) => lines.push(line)), open(cluster.urls, (line) => lines.push(line))];
    await eventually(() => [plain, told].every(({ state }) => state === 'connected'), { timeoutMs: HEAL_TIMEOUT_MS });
    await told.keyValues('PARTED', { replicas: 3 }).put('a', bytes('1'));
    // Each on its own: no quorum anywhere.
    for (const partition of cluster.partitions) partition.stall();
    const partedMs = performance.now();
    await eventually(() => performance.now() - partedMs > 8_000);

    expect([plain.state, told.state, lines.filter(({ text }) => text === 'The connection to NATS was lost')]).toEqual(['connected', 'connected', []]);
    for (const partition of cluster.partitions) await partition.heal();
  });
});
