import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connect, type Messenger } from '@carillon/messenger';
import { eventually, freePort, spawnService, type SpawnedService } from '@carillon/testing';

import { wait } from './fan-out.ts';

/** How long clients need to be back, with everything they missed, after their hub was killed. */
export interface ComeBackResult {
  readonly clients: number;
  /** From the kill until 99 of 100 have an event that was published after the restart, and all before it. */
  readonly backMs99: number;
  readonly allBackMs: number;
  /** Events that some client did not get, or got twice. */
  readonly missing: number;
  readonly repeated: number;
  readonly hubCpuSeconds: number;
}

const CLIENTS = 5_000;
const ROOMS = 100;
/** Each is a write to every client: 50,000 a second. */
const EVENTS_PER_SECOND = 10;
const AT_ONCE = 200;
const WARM_UP_MS = 2_000;
const GIVE_UP_MS = 120_000;

/** One subscriber: how many events it has of each number, and when it had the mark. */
interface Client {
  readonly messenger: Messenger;
  readonly got: Set<number>;
  repeated: number;
  markedAtMs: number | undefined;
}

/** Everybody subscribes to one room of its own and one for all; the room for all is written to before, during and after. */
export async function measureComeBack(): Promise<ComeBackResult> {
  const dataDir = await mkdtemp(join(tmpdir(), 'carillon-bench-'));
  const [port, adminPort] = [await freePort(), await freePort()];
  const start = (): Promise<SpawnedService> => spawnService({
    command: 'apps/hub/src/main.ts', readyWhen: `http://127.0.0.1:${adminPort}/readyz`,
    env: { CARILLON_HUB_LISTEN: `127.0.0.1:${port}`, CARILLON_HUB_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, CARILLON_HUB_ACCESS: 'open', CARILLON_DATA_DIR: dataDir, CARILLON_LOG_LEVEL: 'error' },
  });
  let hub = await start();
  const url = `ws://127.0.0.1:${port}`;
  const writer = connect(url);
  const clients: Client[] = [];
  let mark = Number.POSITIVE_INFINITY;
  try {
    while (clients.length < CLIENTS) {
      const batch = Array.from({ length: Math.min(AT_ONCE, CLIENTS - clients.length) }, (_, at) => openClient(url, `BENCH-${(clients.length + at) % ROOMS}`, () => mark));
      clients.push(...batch);
      await Promise.all(batch.map(({ messenger }) => messenger.ready()));
    }
    let written = 0;
    const sent: Promise<unknown>[] = [];
    const write = (): number => {
      sent.push(writer.send('ALL', `{"n":${(written += 1)}}`));
      return written;
    };
    const timer = setInterval(() => write(), 1_000 / EVENTS_PER_SECOND);
    await wait(WARM_UP_MS);
    const killedAtMs = performance.now();
    hub.kill('SIGKILL');
    await hub.exited;
    hub = await start();
    mark = write();
    await eventually(() => clients.every(({ markedAtMs }) => markedAtMs !== undefined), { timeoutMs: GIVE_UP_MS, intervalMs: 50, what: 'everybody to be back' }).catch(() => undefined);
    clearInterval(timer);
    const last = write();
    await Promise.all(sent);
    await eventually(() => clients.every(({ got }) => got.has(last)), { timeoutMs: GIVE_UP_MS, intervalMs: 50 }).catch(() => undefined);
    const times = clients.map(({ markedAtMs }) => (markedAtMs ?? Number.POSITIVE_INFINITY) - killedAtMs).sort((left, right) => left - right);
    return {
      clients: CLIENTS, backMs99: Math.round(times[Math.floor(CLIENTS * 0.99) - 1] ?? Number.NaN), allBackMs: Math.round(times.at(-1) ?? Number.NaN),
      missing: clients.reduce((sum, { got }) => sum + (last - got.size), 0), repeated: clients.reduce((sum, { repeated }) => sum + repeated, 0),
      hubCpuSeconds: Math.round(hub.cpuSeconds() * 10) / 10,
    };
  } finally {
    await Promise.all([...clients.map(({ messenger }) => messenger.close()), writer.close()]);
    await hub.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

function openClient(url: string, room: string, mark: () => number): Client {
  const messenger = connect(url);
  const client: Client = { messenger, got: new Set(), repeated: 0, markedAtMs: undefined };
  messenger.subscribe<{ n: number }>([room, 'ALL'], (event) => {
    const { n } = event.json();
    if (client.got.has(n)) client.repeated += 1;
    client.got.add(n);
    if (n >= mark()) client.markedAtMs ??= performance.now();
  });
  return client;
}
