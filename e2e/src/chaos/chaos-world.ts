import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { startFaultProxy, startNatsCluster, type FaultProxy, type NatsCluster } from '@carillon/testing';

import { HubProcess } from '../hub-process.ts';
import { actOf } from './chaos-acts.ts';
import type { WatchedProcess } from './process-watch.ts';
import { lastWords, RepeaterProcess } from './repeater-process.ts';
import { SmallDisk } from './small-disk.ts';
import { SteppedClock } from './stepped-clock.ts';
import type { Fault, ScheduledFault, WorldKind } from './chaos-schedule.ts';

/** A process with what may be done to it besides killing and freezing it. */
export interface HubSite {
  readonly hub: HubProcess;
  readonly clock: SteppedClock;
  /** Of its log, when that is in the process and disks may be full. */
  readonly disk: SmallDisk | undefined;
}

export interface RepeaterSite {
  readonly repeater: RepeaterProcess;
  readonly clock: SteppedClock;
  /** Between it and its hub. */
  readonly uplink: FaultProxy;
  /** Of its outbox, when disks may be full. */
  readonly disk: SmallDisk | undefined;
}

export interface ChaosParts {
  readonly hubs: readonly HubSite[];
  readonly edge: RepeaterSite;
  /** Between messengers and each hub. */
  readonly proxies: readonly FaultProxy[];
  /** Of a reader that may be slowed. */
  readonly slowProxy: FaultProxy;
  readonly nats: NatsCluster | undefined;
}

export interface ChaosWorldOptions {
  readonly kind: WorldKind;
  /** What will be done to it: a world is only prepared for that. */
  readonly faults: readonly Fault[];
  /** How long it will be written to: small disks are to be filled by their ballast, not by what is written. */
  readonly durationMs: number;
}

/** A log takes about 0.3 MB a second here, an outbox less. */
const DISK_MIN_BYTES = 32 * 1_048_576;
const DISK_BYTES_PER_SECOND = 1_048_576;

/** The processes of a run, and faults that are done to them. */
export class ChaosWorld {
  /** `ws://…` of each hub, by way of its proxy. */
  readonly urls: readonly string[];
  readonly slowUrl: string;
  readonly #parts: ChaosParts;
  readonly #folder: string;
  /** Things that are under a fault now: none has two at a time. */
  readonly #busy = new Set<object>();
  readonly #healing = new Set<Promise<void>>();

  private constructor(parts: ChaosParts, folder: string) {
    this.#parts = parts;
    this.#folder = folder;
    this.urls = parts.proxies.map(({ port }) => `ws://127.0.0.1:${port}`);
    this.slowUrl = `ws://127.0.0.1:${parts.slowProxy.port}`;
  }

  static async start(options: ChaosWorldOptions): Promise<ChaosWorld> {
    const folder = await mkdtemp(join(tmpdir(), 'carillon-chaos-'));
    const disks: SmallDisk[] = [];
    try {
      return new ChaosWorld(await startParts(options, { folder, disks }), folder);
    } catch (error) {
      for (const disk of disks) disk.unmount();
      throw error;
    }
  }

  /** Where devices post. */
  get repeaterUrl(): string {
    return this.#parts.edge.repeater.url;
  }

  /** `http://…` of a hub itself. */
  get httpUrl(): string {
    return `http://127.0.0.1:${(this.#parts.hubs[0] as HubSite).hub.port}`;
  }

  /** Does what is scheduled and undoes it after its time; false when what it is to be done to is under a fault already. */
  strike(scheduled: ScheduledFault): boolean {
    const act = actOf(this.#parts, scheduled);
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

  /** Hubs and the repeater. */
  get processes(): readonly WatchedProcess[] {
    const { hubs, edge: { repeater } } = this.#parts;
    const watched = hubs.map(({ hub }) => ({
      name: `hub ${hub.name}`,
      get isUp() {
        return hub.isUp;
      },
      rssBytes: () => (hub.isUp ? hub.service.rssBytes() : 0),
      lastWords: () => (hub.isUp ? lastWords(hub.service) : ''),
    }));
    return [...watched, repeater];
  }

  /** How often the hubs have said LOG_FULL since each was started; publishers ask again and do not hear of it. */
  async logFullCount(): Promise<number> {
    const counts = await Promise.all(this.#parts.hubs.map(async ({ hub }) => (await hub.metrics()).get('carillon_hub_refused_total', { code: 'LOG_FULL' }) ?? 0));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.#healing);
    const { hubs, edge, proxies, slowProxy, nats } = this.#parts;
    await Promise.all([...proxies, slowProxy, edge.uplink].map((proxy) => proxy.stop()));
    await Promise.all([...hubs.map(({ hub }) => hub), edge.repeater].filter((one) => one.isUp).map((one) => one.kill()));
    await nats?.stop();
    for (const { disk } of [...hubs, edge]) disk?.unmount();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function startParts({ kind, faults, durationMs }: ChaosWorldOptions, { folder, disks }: { readonly folder: string; readonly disks: SmallDisk[] }): Promise<ChaosParts> {
  const mount = (name: string): SmallDisk | undefined => {
    if (!faults.includes('full-disk')) return undefined;
    const disk = SmallDisk.mount(join(folder, name), DISK_MIN_BYTES + (durationMs / 1_000) * DISK_BYTES_PER_SECOND);
    disks.push(disk);
    return disk;
  };
  const nats = kind === 'cluster' ? await startNatsCluster(3, { jetstream: true, partitionable: faults.includes('partition-log-server') }) : undefined;
  const env = { CARILLON_HUB_LOG: 'on', CARILLON_HUB_COME_BACK_MIN_MS: '10', CARILLON_HUB_COME_BACK_MAX_MS: '100', ...(nats === undefined ? {} : { CARILLON_NATS_URL: nats.urls.join(',') }) };
  const names = kind === 'cluster' ? ['left', 'right'] : ['only'];
  const hubs = await Promise.all(names.map(async (name) => {
    const clock = new SteppedClock(join(folder, `${name}.clock`));
    const disk = kind === 'embedded' ? mount(name) : undefined;
    return { hub: await HubProcess.start(name, { env: { ...env, ...clock.env, CARILLON_DATA_DIR: join(folder, name) } }), clock, disk };
  }));
  const proxies = await Promise.all(hubs.map(({ hub }) => startFaultProxy({ targetPort: hub.port })));
  const slowProxy = await startFaultProxy({ targetPort: (hubs[0] as HubSite).hub.port });
  const clock = new SteppedClock(join(folder, 'repeater.clock'));
  const disk = mount('repeater');
  const uplink = await startFaultProxy({ targetPort: (proxies[0] as FaultProxy).port });
  const repeater = await RepeaterProcess.start(`ws://127.0.0.1:${uplink.port}`, { dataDir: join(folder, 'repeater'), env: clock.env });
  return { hubs, edge: { repeater, clock, uplink, disk }, proxies, slowProxy, nats };
}
