import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { startFaultProxy, startNatsCluster, type FaultProxy, type NatsCluster } from '@carillon/testing';

import { HubProcess } from '../hub-process.ts';
import { RepeaterProcess } from './repeater-process.ts';
import { FAULTS, type Fault, type ScheduledFault } from './chaos-schedule.ts';

/**
 * What faults are done to: hubs behind proxies that messengers connect through, and a repeater that devices send to.
 *
 *   embedded  one hub with its log in the process
 *   cluster   two hubs on three nats-servers that keep every event three times
 */
export type WorldKind = 'embedded' | 'cluster';

/** What one reader takes while it is slowed: less than what is written. */
const SLOW_BYTES_PER_SECOND = 8_192;

export class ChaosWorld {
  readonly kind: WorldKind;
  /** `ws://…` of each hub, by way of its proxy. */
  readonly urls: readonly string[];
  /** Of a reader that may be slowed. */
  readonly slowUrl: string;
  readonly faults: readonly Fault[];
  /** Where devices post. */
  readonly repeater: RepeaterProcess;
  readonly #hubs: readonly HubProcess[];
  readonly #proxies: readonly FaultProxy[];
  readonly #slowProxy: FaultProxy;
  readonly #nats: NatsCluster | undefined;
  readonly #folder: string;
  /** Things that are under a fault now: none has two at a time. */
  readonly #busy = new Set<object>();
  readonly #healing = new Set<Promise<void>>();

  private constructor(parts: { readonly kind: WorldKind; readonly hubs: readonly HubProcess[]; readonly proxies: readonly FaultProxy[]; readonly slowProxy: FaultProxy; readonly repeater: RepeaterProcess; readonly nats: NatsCluster | undefined; readonly folder: string }) {
    this.kind = parts.kind;
    this.#hubs = parts.hubs;
    this.#proxies = parts.proxies;
    this.#slowProxy = parts.slowProxy;
    this.repeater = parts.repeater;
    this.#nats = parts.nats;
    this.#folder = parts.folder;
    this.urls = parts.proxies.map(({ port }) => `ws://127.0.0.1:${port}`);
    this.slowUrl = `ws://127.0.0.1:${parts.slowProxy.port}`;
    this.faults = FAULTS.filter((fault) => parts.nats !== undefined || !fault.endsWith('log-server'));
  }

  static async start(kind: WorldKind): Promise<ChaosWorld> {
    const folder = await mkdtemp(join(tmpdir(), 'carillon-chaos-'));
    const nats = kind === 'cluster' ? await startNatsCluster(3, { jetstream: true }) : undefined;
    const env = { CARILLON_HUB_LOG: 'on', CARILLON_HUB_COME_BACK_MIN_MS: '10', CARILLON_HUB_COME_BACK_MAX_MS: '100', ...(nats === undefined ? {} : { CARILLON_NATS_URL: nats.urls.join(',') }) };
    const names = kind === 'cluster' ? ['left', 'right'] : ['only'];
    const hubs = await Promise.all(names.map((name) => HubProcess.start(name, { env: { ...env, CARILLON_DATA_DIR: join(folder, name) } })));
    const proxies = await Promise.all(hubs.map(({ port }) => startFaultProxy({ targetPort: port })));
    const slowProxy = await startFaultProxy({ targetPort: (hubs[0] as HubProcess).port });
    const repeater = await RepeaterProcess.start(`ws://127.0.0.1:${(proxies[0] as FaultProxy).port}`, join(folder, 'repeater'));
    return new ChaosWorld({ kind, hubs, proxies, slowProxy, repeater, nats, folder });
  }

  /** Does what is scheduled and undoes it after its time; false when what it is to be done to is under a fault already. */
  strike(scheduled: ScheduledFault): boolean {
    const act = this.#actOf(scheduled);
    if (act === undefined || this.#busy.has(act.subject)) return false;
    this.#busy.add(act.subject);
    const healing = (async () => {
      await act.begin();
      await sleep(scheduled.forMs);
      await act.end();
      this.#busy.delete(act.subject);
    })();
    this.#healing.add(healing);
    void healing.finally(() => this.#healing.delete(healing)).catch(() => undefined); // rejects where it is awaited
    return true;
  }

  /** Resolves when nothing is wrong any more. */
  async healed(): Promise<void> {
    await Promise.all(this.#healing);
  }

  /** Resident memory of the largest hub. */
  largestHubBytes(): number {
    return Math.max(...this.#hubs.map((hub) => (hub.isUp ? hub.service.rssBytes() : 0)));
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.#healing);
    await Promise.all([...this.#proxies, this.#slowProxy].map((proxy) => proxy.stop()));
    await Promise.all([...this.#hubs, this.repeater].filter((one) => one.isUp).map((one) => one.kill()));
    await this.#nats?.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #actOf({ fault, target }: ScheduledFault): Act | undefined {
    const hub = this.#hubs[target % this.#hubs.length] as HubProcess;
    const proxy = this.#proxies[target % this.#proxies.length] as FaultProxy;
    const server = this.#nats?.servers[target % 3];
    switch (fault) {
      case 'kill-hub':
        return { subject: hub, begin: () => hub.kill(), end: () => hub.start() };
      case 'freeze-hub':
        return { subject: hub, begin: () => hub.service.kill('SIGSTOP'), end: () => hub.service.kill('SIGCONT') };
      case 'kill-log-server':
        return server === undefined ? undefined : { subject: this, begin: () => server.kill(), end: () => server.restart() };
      case 'freeze-log-server':
        return server === undefined ? undefined : { subject: this, begin: () => server.pause(), end: () => server.resume() };
      case 'cut-clients':
        return { subject: proxy, begin: () => proxy.cut(), end: () => proxy.heal() };
      case 'stall-clients':
        return { subject: proxy, begin: () => proxy.stall(), end: () => proxy.heal() };
      case 'slow-reader':
        return { subject: this.#slowProxy, begin: () => this.#slowProxy.limitBytesPerSecond(SLOW_BYTES_PER_SECOND), end: () => this.#slowProxy.limitBytesPerSecond(Number.POSITIVE_INFINITY) };
      case 'kill-repeater':
        return { subject: this.repeater, begin: () => this.repeater.kill(), end: () => this.repeater.start() };
      case 'freeze-repeater':
        return { subject: this.repeater, begin: () => this.repeater.signal('SIGSTOP'), end: () => this.repeater.signal('SIGCONT') };
      default:
        return fault satisfies never;
    }
  }
}

interface Act {
  readonly subject: object;
  readonly begin: () => void | Promise<void>;
  readonly end: () => void | Promise<void>;
}
