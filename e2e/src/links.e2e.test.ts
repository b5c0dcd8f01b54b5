import { connect, type Messenger } from '@carillon/messenger';
import { eventually, startNatsServer, stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { countedBody } from './counted-event.ts';
import { HubProcess } from './hub-process.ts';
import { Reception } from './reception.ts';
import { pick, seededRandom, seedsOf } from './seeded-random.ts';

/**
 * Hubs that are started, stopped, killed, linked and unlinked in a random order, and a model of who must hear whom then:
 * groups (a cluster, or a lone hub) hear each other while any of their hubs that run are linked, over one hop. After each
 * operation every subscriber that the model says hears a marker gets it exactly once, the others not at all, and the hubs'
 * counters of received events come to rest, so nothing is going in circles.
 */
const OPERATIONS = 8;
const START_WEIGHT = 6;
const LINK_WEIGHT = 2;
const ROOM = 'LINK-1';
const SETTLE_TIMEOUT_MS = 15_000;
const PROBE_WAIT_MS = 400;
const REST_INTERVAL_MS = 60;
const BACKOFF = { firstMs: 20, capMs: 100 };
const HUB_ENV = {
  CARILLON_HUB_LINK_RETRY_FIRST_MS: '40',
  CARILLON_HUB_LINK_RETRY_CAP_MS: '150',
  CARILLON_HUB_COME_BACK_MIN_MS: '0',
  CARILLON_HUB_COME_BACK_MAX_MS: '100',
};

let released: ReturnType<typeof trackResources>;

beforeEach(() => {
  released = trackResources();
});

afterEach(async () => {
  await stopAll();
  await released();
});

/** One hub and its people: a publisher, and two subscribers of different tastes. */
interface Site {
  readonly hub: HubProcess;
  /** Hubs of the same group hear each other without links. */
  readonly group: string;
  readonly publisher: Messenger;
  readonly listeners: readonly { readonly messenger: Messenger; readonly reception: Reception }[];
}

interface Link {
  readonly from: Site;
  readonly to: Site;
}

type Operation =
  | { readonly what: 'start' | 'stop' | 'kill'; readonly site: Site }
  | { readonly what: 'link' | 'unlink'; readonly link: Link };

class World {
  readonly sites: readonly Site[];
  #links: readonly Link[] = [];
  #counter = 0;

  constructor(sites: readonly Site[]) {
    this.sites = sites;
  }

  static async start(plan: readonly { readonly name: string; readonly group: string }[], natsUrl?: string): Promise<World> {
    const sites = await Promise.all(plan.map(async ({ name, group }): Promise<Site> => {
      const inCluster = plan.filter((other) => other.group === group).length > 1;
      const hub = await HubProcess.start(name, { env: { ...HUB_ENV, ...(inCluster && natsUrl !== undefined ? { CARILLON_NATS_URL: natsUrl } : {}) } });
      const listeners = [[ROOM, 'OTHER-1'], ['*', ROOM]].map((rooms) => {
        const messenger = connect(hub.url, { backoff: BACKOFF });
        const reception = new Reception();
        messenger.subscribe(rooms, reception.take);
        return { messenger, reception };
      });
      return { hub, group, publisher: connect(hub.url, { backoff: BACKOFF }), listeners };
    }));
    return new World(sites);
  }

  site(name: string): Site {
    return this.sites.find(({ hub }) => hub.name === name) as Site;
  }

  /**
   * Everything that may be done now; linking with a hub that is down, or that is linked already, is tried too. What makes
   * hubs run and changes links counts several times, so that most of the time there is something to get wrong.
   */
  operations(): readonly Operation[] {
    return [
      ...this.sites.flatMap((site): Operation[] => (site.hub.isUp ? [{ what: 'stop', site }, { what: 'kill', site }] : Array<Operation>(START_WEIGHT).fill({ what: 'start', site }))),
      ...this.sites.flatMap((from) => this.sites.filter((to) => from.hub.isUp && to.group !== from.group).map((to): Operation => {
        const known = this.#links.find((link) => link.from === from && link.to === to);
        return known === undefined ? { what: 'link', link: { from, to } } : { what: 'unlink', link: known };
      })).flatMap((operation) => Array<Operation>(LINK_WEIGHT).fill(operation)),
    ];
  }

  async apply(operation: Operation): Promise<void> {
    switch (operation.what) {
      case 'start':
        await operation.site.hub.start();
        return;
      case 'stop':
        expect(await operation.site.hub.stop()).toEqual({ code: 0, signal: null });
        this.#links = this.#links.filter(({ from }) => from !== operation.site);
        return;
      case 'kill':
        await operation.site.hub.kill();
        this.#links = this.#links.filter(({ from }) => from !== operation.site);
        return;
      case 'link':
        await this.#link(operation.link);
        return;
      case 'unlink': {
        const { from, to } = operation.link;
        const response = await from.hub.call('DELETE', `/interconnect/${encodeURIComponent(to.hub.url)}`);
        expect(response.status).toBe(204);
        this.#links = this.#links.filter((link) => link !== operation.link);
        return;
      }
      default:
        operation satisfies never;
    }
  }

  async #link({ from, to }: Link): Promise<void> {
    const isLinkedTheOtherWay = this.#links.some((link) => link.from === to && link.to === from);
    const response = await from.hub.call('POST', `/interconnect/127.0.0.1:${to.hub.port}`);
    expect(response.status).toBe(!to.hub.isUp ? 502 : isLinkedTheOtherWay ? 409 : 200);
    await response.body?.cancel();
    if (response.status === 200) this.#links = [...this.#links, { from, to }];
  }

  /** Whether what is published at one hub is heard at another. */
  #reaches(from: Site, to: Site): boolean {
    if (!from.hub.isUp || !to.hub.isUp) return false;
    if (from.group === to.group) return true;
    return this.#links.some((link) => {
      const groups = [link.from.group, link.to.group];
      return link.from.hub.isUp && link.to.hub.isUp && groups.includes(from.group) && groups.includes(to.group);
    });
  }

  /** Who publishes and hears now, and what the model says of each pair. */
  #pairs(): readonly { readonly from: Site; readonly to: Site; readonly reception: Reception; readonly heard: boolean }[] {
    return this.sites.filter(({ hub }) => hub.isUp).flatMap((from) =>
      this.sites.filter(({ hub }) => hub.isUp).flatMap((to) =>
        to.listeners.map(({ reception }) => ({ from, to, reception, heard: this.#reaches(from, to) }))));
  }

  async #publish(): Promise<number> {
    this.#counter += 1;
    const counter = this.#counter;
    await Promise.all(this.sites.filter(({ hub }) => hub.isUp).map(({ hub, publisher }) => publisher.send(ROOM, countedBody(ROOM, { publisher: hub.name, counter }))));
    return counter;
  }

  async #linksAreUp(): Promise<boolean> {
    const lists = await Promise.all(this.sites.filter(({ hub }) => hub.isUp).map(async ({ hub }) => (await (await hub.call('GET', '/interconnect')).json()) as { links: { address: string; state: string }[] }));
    const isUp = (address: string): boolean => this.sites.some(({ hub }) => hub.isUp && address.includes(`:${hub.port}/`));
    return lists.every(({ links }) => links.every(({ address, state }) => state === (isUp(address) ? 'up' : 'down')));
  }

  async #received(): Promise<number> {
    const scrapes = await Promise.all(this.sites.filter(({ hub }) => hub.isUp).map(({ hub }) => hub.metrics()));
    return scrapes.reduce((sum, metrics) => sum + (metrics.get('carillon_hub_events_received_total') ?? 0), 0);
  }

  async #comesToRest(): Promise<void> {
    let before = -1;
    await eventually(async () => {
      const now = await this.#received();
      const rests = now === before;
      before = now;
      return rests;
    }, { timeoutMs: SETTLE_TIMEOUT_MS, intervalMs: REST_INTERVAL_MS, what: 'the counters of received events to rest' });
  }

  /** Waits until the world is as the model says, then proves it with one marker from each hub. */
  async verify(): Promise<void> {
    await eventually(() => this.#linksAreUp(), { timeoutMs: SETTLE_TIMEOUT_MS, what: 'links to be up where both hubs run' });
    await eventually(async () => {
      const probe = await this.#publish();
      await eventually(() => this.#pairs().every(({ from, reception, heard }) => !heard || reception.has(from.hub.name, probe)), { timeoutMs: PROBE_WAIT_MS, intervalMs: 5, what: 'a probe' });
    }, { timeoutMs: SETTLE_TIMEOUT_MS, what: `everybody to hear whom they should: ${this.describe()}` });
    await this.#comesToRest();

    const marker = await this.#publish();
    await eventually(() => this.#pairs().every(({ from, reception, heard }) => !heard || reception.has(from.hub.name, marker)), { what: 'the marker to reach everybody it should' });
    await this.#comesToRest();
    for (const { from, to, reception, heard } of this.#pairs()) {
      expect({ from: from.hub.name, to: to.hub.name, heard: reception.has(from.hub.name, marker) }).toEqual({ from: from.hub.name, to: to.hub.name, heard });
    }
    for (const { listeners } of this.sites) {
      for (const { reception: { duplicates, torn, reordered } } of listeners) expect({ duplicates, torn, reordered }).toEqual({ duplicates: 0, torn: 0, reordered: 0 });
    }
  }

  describe(): string {
    const sites = this.sites.map(({ hub }) => `${hub.name} ${hub.isUp ? 'up' : 'down'}`);
    return [...sites, ...this.#links.map(({ from, to }) => `${from.hub.name}→${to.hub.name}`)].join(', ');
  }

  async close(): Promise<void> {
    await Promise.all(this.sites.flatMap(({ publisher, listeners }) => [publisher.close(), ...listeners.map(({ messenger }) => messenger.close())]));
  }
}

const nameOf = (operation: Operation): string => ('site' in operation ? `${operation.what} ${operation.site.hub.name}` : `${operation.what} ${operation.link.from.hub.name}→${operation.link.to.hub.name}`);

async function wander(world: World, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const done: string[] = [];
  await world.verify();
  for (let step = 0; step < OPERATIONS; step += 1) {
    const operation = pick(world.operations(), random);
    done.push(nameOf(operation));
    try {
      await world.apply(operation);
      await world.verify();
    } catch (error) {
      throw new Error(`seed ${seed}, after ${done.join('; ')}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
  process.stdout.write(`${JSON.stringify({ case: 'links', seed, hubs: world.sites.length, operations: done })}\n`);
}

describe('hub links', () => {
  it('carries events both ways between two lone hubs, heals after kill -9 of either, and ends when it is dropped', async () => {
    const world = await World.start([{ name: 'near', group: 'near' }, { name: 'far', group: 'far' }]);
    const link = { from: world.site('near'), to: world.site('far') };
    await world.apply({ what: 'link', link });
    await world.verify();

    await world.apply({ what: 'kill', site: link.to });
    await world.verify();
    await world.apply({ what: 'start', site: link.to });
    await world.verify();

    await world.apply({ what: 'link', link: { from: link.to, to: link.from } });
    const [known] = world.operations().filter((operation) => operation.what === 'unlink');
    await world.apply(known as Operation);
    await world.verify();
    await world.close();
  });

  it('brings each event once when both members of a cluster are linked with a lone hub', async () => {
    const nats = await startNatsServer();
    const world = await World.start([{ name: 'left', group: 'cluster' }, { name: 'right', group: 'cluster' }, { name: 'lone', group: 'lone' }], nats.url);
    await world.apply({ what: 'link', link: { from: world.site('left'), to: world.site('lone') } });
    await world.verify();
    await world.apply({ what: 'link', link: { from: world.site('lone'), to: world.site('right') } });
    await world.verify();
    await world.apply({ what: 'kill', site: world.site('left') });
    await world.verify();
    await world.close();
  });

  it.each(seedsOf([25, 26]))('holds between two lone hubs whatever is done to them (seed %i)', async (seed) => {
    const world = await World.start([{ name: 'near', group: 'near' }, { name: 'far', group: 'far' }]);
    await wander(world, seed);
    await world.close();
  });

  it.each(seedsOf([21, 25, 26]))('holds between a cluster and a lone hub whatever is done to them (seed %i)', async (seed) => {
    const nats = await startNatsServer();
    const world = await World.start([{ name: 'left', group: 'cluster' }, { name: 'right', group: 'cluster' }, { name: 'lone', group: 'lone' }], nats.url);
    await wander(world, seed);
    await world.close();
  });
});
