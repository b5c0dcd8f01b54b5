import { connect, type Socket } from 'node:net';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { eventually } from './eventually.ts';
import { startNatsCluster, type NatsCluster } from './nats-cluster.ts';
import { readInfo, type NatsServer } from './nats-server.ts';
import { stopAll } from './owned-by-test.ts';
import { trackResources } from './track-resources.ts';

const DOWNLOAD_TIMEOUT_MS = 300_000;
/** A leader is missed after four to nine seconds, and chosen anew; more on a busy machine. */
const ELECTION_TIMEOUT_MS = 90_000;
const STREAM = JSON.stringify({ name: 'KEPT', subjects: ['kept'], num_replicas: 3, storage: 'memory' });

let released: ReturnType<typeof trackResources>;
let sockets: Socket[];
beforeEach(() => {
  released = trackResources();
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await stopAll();
  await released();
});

/** Publishes to one server and gives what was answered so far. */
function ask({ port }: NatsServer, subject: string, body = ''): () => string {
  const socket = connect({ port, host: '127.0.0.1' });
  sockets.push(socket);
  let received = '';
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => (received += chunk.toString('utf8')));
  socket.write(`CONNECT {"verbose":false}\r\nSUB answer 1\r\nPUB ${subject} answer ${Buffer.byteLength(body)}\r\n${body}\r\n`);
  return () => /MSG answer 1 \d+\r\n([^]*)\r\n/.exec(received)?.[1] ?? '';
}

/** Asks again until the answer holds `expected`: of a server that has no leader nothing comes. */
async function insist(server: NatsServer, subject: string, { body = '', expected }: { readonly body?: string; readonly expected: string }): Promise<string> {
  return eventually(async () => {
    const answer = ask(server, subject, body);
    await eventually(() => answer() !== '', { timeoutMs: 2_000 });
    return answer().includes(expected) && answer();
  }, { timeoutMs: ELECTION_TIMEOUT_MS, what: `${expected} of ${subject}` });
}

async function leaderOf(cluster: NatsCluster): Promise<number> {
  const info = await insist(cluster.servers[0] as NatsServer, '$JS.API.STREAM.INFO.KEPT', { expected: '"leader"' });
  return cluster.servers.findIndex(({ port }) => info.includes(`"leader":"carillon-test-${process.pid}-${port}"`));
}

describe('a cluster that can be parted', { timeout: DOWNLOAD_TIMEOUT_MS }, () => {
  it('has a leader without a quorum while that is parted, and another one; and one truth when it is healed, again and again', async () => {
    const cluster = await startNatsCluster(3, { jetstream: true, partitionable: true });
    await insist(cluster.servers[0] as NatsServer, '$JS.API.STREAM.CREATE.KEPT', { body: STREAM, expected: '"created"' });
    // What servers told each other at the first healing must not be a way round the second parting.
    for (const how of ['cut', 'stall', 'cut'] as const) {
      const leader = await leaderOf(cluster);
      const [parted, other] = [cluster.servers[leader], cluster.servers[(leader + 1) % 3]];
      if (parted === undefined || other === undefined) throw new Error(`no leader: ${leader}`);
      await insist(parted, 'kept', { body: 'before', expected: '"seq"' });

      cluster.partitions[leader]?.[how]();
      const unacked = ask(parted, 'kept', 'alone');
      const acked = await insist(other, 'kept', { body: 'together', expected: '"seq"' });
      expect(unacked()).not.toContain('"seq"');
      expect(await readInfo(parted.port)).toContain('INFO');

      await cluster.partitions[leader]?.heal();
      await insist(parted, 'kept', { body: 'after', expected: '"seq"' });
      expect(await insist(other, '$JS.API.STREAM.MSG.GET.KEPT', { body: `{"seq":${/"seq":(\d+)/.exec(acked)?.[1] ?? ''}}`, expected: '"data"' })).toContain(`"data":"${Buffer.from('together').toString('base64')}"`);
    }
  });

  it('has no partitions unless it is asked for them', async () => {
    expect((await startNatsCluster(1)).partitions).toEqual([]);
  });
});
