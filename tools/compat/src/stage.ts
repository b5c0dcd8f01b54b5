import { once } from 'node:events';
import { createServer } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connect, roomEvent, type Messenger } from '@carillon/messenger';
import { eventually, freePort, spawnService, stopAll, type SpawnedService } from '@carillon/testing';

import type { CompatOptions } from './options.ts';
import { readReceived, type Received, type Receiver } from './received.ts';

/** What one check has set up: programs of both makes, messengers of both makes, and HTTP targets. `close()` ends all of it. */

/** A hub of either make; it keeps its port over restarts. */
export interface HubProgram {
  readonly port: number;
  readonly url: string;
  kill(): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface RepeaterProgram {
  readonly port: number;
  readonly url: string;
}

/** Reconnects of ours are quick here; the originals wait 3 s between tries. */
const BACKOFF = { firstMs: 50, capMs: 300 };
/** Our links are tried again as quickly. */
const LINK_RETRY = { CARILLON_HUB_LINK_RETRY_FIRST_MS: '50', CARILLON_HUB_LINK_RETRY_CAP_MS: '300', CARILLON_HUB_COME_BACK_MIN_MS: '0', CARILLON_HUB_COME_BACK_MAX_MS: '100' };

export class Stage {
  readonly #options: CompatOptions;
  readonly #closers: (() => Promise<unknown>)[] = [];

  constructor(options: CompatOptions) {
    this.#options = options;
  }

  /** Our hub; with the NATS of a cluster, a member of that. */
  async ourHub(natsUrl?: string): Promise<HubProgram> {
    const adminPort = await freePort();
    return this.#hub((port) => spawnService({
      command: 'apps/hub/src/main.ts',
      env: { CARILLON_HUB_LISTEN: `127.0.0.1:${port}`, CARILLON_HUB_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, CARILLON_HUB_ACCESS: 'open', ...LINK_RETRY, ...(natsUrl === undefined ? {} : { CARILLON_NATS_URL: natsUrl }) },
      readyWhen: `http://127.0.0.1:${adminPort}/readyz`,
    }));
  }

  /** An original hub, which may open links to others by itself. */
  async originalHub(links: readonly string[] = []): Promise<HubProgram> {
    const { hub, 'hub-port-env': portName, 'hub-links-env': linksName } = this.#options;
    return this.#hub((port) => spawnService({
      command: [hub],
      env: { ...ORIGINAL_ENV, [portName]: `${port}`, ...(links.length === 0 ? {} : { [linksName]: links.join(',') }) },
      readyWhen: `http://127.0.0.1:${port}/health`,
    }));
  }

  async #hub(launch: (port: number) => Promise<SpawnedService>): Promise<HubProgram> {
    const port = await freePort();
    let service = await launch(port);
    return {
      port,
      url: `ws://127.0.0.1:${port}`,
      kill: async () => {
        service.kill('SIGKILL');
        await service.stop();
      },
      stop: async () => {
        await service.stop();
      },
      start: async () => {
        service = await launch(port);
      },
    };
  }

  /** Our repeater; `targets` get what its hub sends of any room. */
  async ourRepeater(id: string, { hub, targets = [] }: { readonly hub: HubProgram; readonly targets?: readonly string[] }): Promise<RepeaterProgram> {
    const [port, adminPort] = [await freePort(), await freePort()];
    const folder = await mkdtemp(join(tmpdir(), 'carillon-compat-'));
    this.#closers.push(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, 'send-list.json'), JSON.stringify({ rooms: { '*': targets } }));
    await spawnService({
      command: 'apps/repeater/src/main.ts',
      env: {
        CARILLON_REPEATER_LISTEN: `127.0.0.1:${port}`,
        CARILLON_REPEATER_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
        CARILLON_REPEATER_ID: id,
        CARILLON_REPEATER_ACCESS: 'open',
        CARILLON_REPEATER_HUB_URL: hub.url,
        CARILLON_REPEATER_HUB_RETRY_CAP_MS: '300',
        CARILLON_REPEATER_SEND_LIST_FILE: join(folder, 'send-list.json'),
        CARILLON_REPEATER_HTTP_TARGET_CONCURRENCY: '1',
      },
      readyWhen: `http://127.0.0.1:${adminPort}/readyz`,
    });
    return { port, url: `ws://127.0.0.1:${port}` };
  }

  /** An original repeater; `targets` are its CENTRAL_REPEATER_ADDRESSES. */
  async originalRepeater(id: string, { hub, targets = [] }: { readonly hub: HubProgram; readonly targets?: readonly string[] }): Promise<RepeaterProgram> {
    const port = await freePort();
    const { repeater, 'repeater-port-env': portName } = this.#options;
    await spawnService({
      command: [repeater],
      env: { ...ORIGINAL_ENV, [portName]: `${port}`, HUB_ADDRESS: hub.url, SYSTEM_ID: id, ...(targets.length === 0 ? {} : { CENTRAL_REPEATER_ADDRESSES: targets.join(',') }) },
      readyWhen: `http://127.0.0.1:${port}/status`,
    });
    return { port, url: `ws://127.0.0.1:${port}` };
  }

  /** Our messenger library, at a hub or at a repeater's door. */
  ourMessenger(name: string, url: string, rooms: readonly string[] = []): Receiver & { readonly messenger: Messenger } {
    const messenger = connect(url, { backoff: BACKOFF });
    const events: Received[] = [];
    if (rooms.length > 0) messenger.subscribe(rooms, (event) => events.push(readReceived(event.room, event.text())));
    this.#closers.push(() => messenger.close());
    return { name, messenger, events: () => events };
  }

  /** The original messenger's command line, listening. */
  async originalMessenger(name: string, hub: HubProgram, rooms: readonly string[]): Promise<Receiver> {
    const { messenger, 'messenger-hub-flag': hubFlag, 'messenger-rooms-flag': roomsFlag } = this.#options;
    const service = await spawnService({ command: [messenger, hubFlag, hub.url, roomsFlag, rooms.join(',')] });
    return { name, events: () => service.stdout().split('\n').filter((line) => line.startsWith('{')).map(readLine) };
  }

  /** The original messenger's command line, sending events with key `n` and values 0 … count-1. */
  async originalSender(hub: HubProgram, room: string, count: number): Promise<void> {
    const { messenger, 'messenger-hub-flag': hubFlag, 'messenger-send-flag': sendFlag, 'messenger-count-flag': countFlag, 'messenger-delay-flag': delayFlag } = this.#options;
    await spawnService({ command: [messenger, hubFlag, hub.url, sendFlag, room, countFlag, `${count}`, delayFlag, '300ms'] });
  }

  /** An HTTP server that takes events by POST. */
  async httpTarget(name: string): Promise<Receiver & { readonly url: string }> {
    const events: Received[] = [];
    const server = createServer((req, res) => {
      let body = '';
      req.on('data', (piece: Buffer) => (body += piece.toString('utf8')));
      req.on('end', () => {
        events.push(readReceived('', body));
        res.end();
      });
    });
    const port = await freePort();
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    this.#closers.push(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    });
    return { name, url: `http://127.0.0.1:${port}/events`, events: () => events };
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    await stopAll();
  }
}

/** Nothing of the caller's environment may lead an original elsewhere. */
const ORIGINAL_ENV = { HUB_ADDRESS: undefined, SYSTEM_ID: undefined, ROOM_SYSTEM: undefined, CENTRAL_REPEATER_ADDRESSES: undefined };

function readLine(line: string): Received {
  const { room = '', key = '', value = '' } = JSON.parse(line) as { room?: string; key?: string; value?: string };
  return { room, key, value, blankLines: undefined };
}

/** One v2 event's JSON. */
export function eventJson(room: string, key: string, value: string): string {
  return JSON.stringify(roomEvent({ room, key, value, tags: ['core-state'], user: 'compat' }));
}

/** Posts an event to a hub (`/event`) or a repeater (`/send`); throws unless it says 200. */
export async function post(port: number, path: '/event' | '/send', json: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: json });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`POST ${path} was answered with ${response.status} ${text.slice(0, 200)}`);
}

let probes = 0;

/** Sends probes until every receiver has got one of them: subscriptions and links are not acknowledged by the originals. */
export async function untilHeard(send: (json: string) => Promise<void>, room: string, receivers: readonly Receiver[]): Promise<void> {
  probes += 1;
  const key = `probe-${probes}`;
  let number = 0;
  await eventually(async () => {
    number += 1;
    await send(eventJson(room, key, `${number}`));
    const deaf = receivers.filter((receiver) => !receiver.events().some((event) => event.key === key));
    if (deaf.length > 0) throw new Error(`${deaf.map(({ name }) => name).join(', ')} heard nothing`);
  }, { timeoutMs: 15_000, intervalMs: 100, what: 'probes to be heard' });
}
