import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort, spawnService } from '@carillon/testing';

import { wait } from './fan-out.ts';

/**
 * Configuration written without a pause: devices made and changed over REST by writers that wait for each answer, on a
 * config-manager with its embedded PostgreSQL, fsync on. Each write is one transaction with its audit record and its
 * record of the feed.
 */
export interface ConfigWritesResult {
  readonly writers: number;
  /** Of the median round. */
  readonly writesPerSecond: number;
  readonly cpuMsPerWrite: number;
  /** Records that the feed had not handed over ten seconds after the last write. */
  readonly unpublished: number;
}

const WRITERS = 8;
const ROUNDS = 3;
const PASSWORD = 'a password for this run only';
const UNLIMITED = '100000';

export async function measureConfigWrites(seconds: number): Promise<ConfigWritesResult> {
  const folder = await mkdtemp(join(tmpdir(), 'carillon-bench-'));
  const [port, adminPort] = [await freePort(), await freePort()];
  const service = await spawnService({
    command: 'apps/config-manager/src/main.ts',
    env: {
      CARILLON_CONFIG_MANAGER_LISTEN: `127.0.0.1:${port}`, CARILLON_CONFIG_MANAGER_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, CARILLON_CONFIG_MANAGER_ADMIN_PASSWORD: PASSWORD,
      CARILLON_CONFIG_MANAGER_RATE_PER_SECOND: UNLIMITED, CARILLON_CONFIG_MANAGER_RATE_BURST: UNLIMITED, CARILLON_DATA_DIR: folder, CARILLON_LOG_LEVEL: 'warn',
    },
    readyWhen: `http://127.0.0.1:${adminPort}/readyz`, readyTimeoutMs: 60_000,
  });
  try {
    const call = createCalls(`http://127.0.0.1:${port}/api/v1`);
    call.token = (await call.json<{ token: string }>('POST', '/sessions', { username: 'admin', password: PASSWORD })).token;
    await writeFor(call, { seconds: 2, round: 'warm' });
    const rounds: { writesPerSecond: number; cpuMsPerWrite: number }[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const cpuBefore = service.cpuSeconds();
      const writes = await writeFor(call, { seconds, round: `${round}` });
      rounds.push({ writesPerSecond: Math.round(writes / seconds), cpuMsPerWrite: Math.round(((service.cpuSeconds() - cpuBefore) * 100_000) / writes) / 100 });
    }
    const median = rounds.sort((left, right) => left.writesPerSecond - right.writesPerSecond)[Math.floor(ROUNDS / 2)] as (typeof rounds)[number];
    return { writers: WRITERS, ...median, unpublished: await unpublished(call) };
  } finally {
    await service.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Calls {
  token: string;
  json<T>(method: string, path: string, body?: unknown): Promise<T>;
}

function createCalls(api: string): Calls {
  const calls: Calls = {
    token: '',
    json: async <T>(method: string, path: string, body?: unknown): Promise<T> => {
      const response = await fetch(`${api}${path}`, { method, headers: { authorization: `Bearer ${calls.token}`, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return JSON.parse(text) as T;
    },
  };
  return calls;
}

async function writeFor(call: Calls, { seconds, round }: { readonly seconds: number; readonly round: string }): Promise<number> {
  const endMs = performance.now() + seconds * 1_000;
  let writes = 0;
  const write = async (writer: number): Promise<void> => {
    let id: string | undefined;
    for (let count = 0; performance.now() < endMs; count += 1) {
      const address = `http://10.0.0.1/${writer}/${count}`;
      const path = '/workspaces/default/devices';
      if (count % 2 === 1 && id !== undefined) await call.json('PATCH', `${path}/${id}`, { address });
      else ({ id } = await call.json<{ id: string }>('POST', path, { room: 'BENCH-1', name: `d-${round}-${writer}-${count}`, repeater: 'CP1', address }));
      writes += 1;
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
  return writes;
}

async function unpublished(call: Calls): Promise<number> {
  const deadlineMs = performance.now() + 10_000;
  for (;;) {
    const { head, published } = await call.json<{ head: number; published: number | null }>('GET', '/feed');
    const left = head - (published ?? 0);
    if (left === 0 || performance.now() > deadlineMs) return left;
    await wait(100);
  }
}
