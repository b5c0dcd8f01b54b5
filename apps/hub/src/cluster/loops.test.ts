import { createInProcessExchange } from '@carillon/bus';
import { eventually, freePort, trackResources } from '@carillon/testing';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, joinRooms, startTestHub, type TestHub, type TestPeer } from '../hub.fixture.ts';

// Never a loop, never a duplicate, however hubs are linked. Who gets an event: the hubs of its cluster, the hubs linked
// with any of those, and the clusters of these. One hop, so no further.

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

interface Slot {
  readonly port: number;
  /** Hubs of the same cluster are one hub; undefined stands alone. */
  readonly cluster: number | undefined;
  hub: TestHub | undefined;
}

async function createSite(clusters: readonly (number | undefined)[]) {
  const exchanges = new Map(clusters.map((cluster) => [cluster, createInProcessExchange()]));
  const slots: Slot[] = [];
  for (const cluster of clusters) slots.push({ port: await freePort(), cluster, hub: undefined });
  const live = (): (Slot & { hub: TestHub })[] => slots.filter((slot): slot is Slot & { hub: TestHub } => slot.hub !== undefined);
  const start = async (at: number): Promise<void> => {
    const slot = slots[at] as Slot;
    const exchange = exchanges.get(slot.cluster);
    slot.hub ??= await startTestHub({ port: slot.port, ...(slot.cluster === undefined || exchange === undefined ? {} : { bus: exchange.connect() }) });
  };
  const stop = async (at: number): Promise<void> => {
    const { hub } = slots[at] as Slot;
    (slots[at] as Slot).hub = undefined;
    await hub?.stop();
  };
  const address = (at: number): string => `127.0.0.1:${slots[at]?.port}`;
  const link = async (from: number, to: number): Promise<number | undefined> => (await slots[from]?.hub?.link(address(to)))?.status;
  const unlink = async (from: number, to: number): Promise<void> => void (await slots[from]?.hub?.call('DELETE', `/interconnect/${address(to)}`));

  /** Who is linked with whom, by what the hubs themselves keep, once it is so. */
  async function stable(): Promise<ReadonlyMap<Slot, ReadonlySet<Slot>>> {
    return eventually(async () => {
      const linked = new Map(live().map((slot) => [slot as Slot, new Set<Slot>()]));
      for (const slot of live()) {
        const { links } = JSON.parse((await slot.hub.call('GET', '/interconnect')).text) as { links: { address: string; state: string }[] };
        for (const { address: to, state } of links) {
          const other = live().find(({ port }) => to.includes(`:${port}/`));
          if (other === undefined) continue;
          expect(state).toBe('up');
          linked.get(slot)?.add(other);
          linked.get(other)?.add(slot);
        }
      }
      for (const [slot, others] of linked) {
        const peers = new Set((await slot.hub?.status())?.info.nexus.hubs.map(({ id }) => id));
        expect(peers).toEqual(new Set([...others].map(({ hub }) => hub?.id)));
      }
      return linked;
    }, { what: 'the links to settle' });
  }

  /** Everybody publishes at once; everybody gets what is due, once, in each publisher's order. */
  async function expectExactlyOnce(): Promise<void> {
    const linked = await stable();
    const mates = (slot: Slot): Slot[] => live().filter((other) => other === slot || (slot.cluster !== undefined && other.cluster === slot.cluster));
    const reach = (slot: Slot): Set<Slot> => new Set(mates(slot).flatMap((mate) => [mate, ...[...(linked.get(mate) ?? [])].flatMap(mates)]));
    const sites = await Promise.all(live().map(async (slot, at) => ({
      slot, at,
      listeners: [await joinRooms(slot.hub, 'A', 'MARK'), await joinRooms(slot.hub, '*', 'A-*', 'A')],
      writer: await connectPeer(slot.hub, 'messenger'),
      repeater: await connectPeer(slot.hub, 'repeater'),
    })));
    const frames = (kind: string, at: number): string[] => Array.from({ length: 20 }, (_, n) => `A\n${kind} ${at} ${n}`);
    for (const { writer, repeater, at } of sites) {
      for (const frame of frames('messenger', at)) writer.send(frame);
      for (const frame of frames('repeater', at)) repeater.send(frame);
    }
    for (const { slot, listeners } of sites) {
      const due = sites.filter((from) => reach(from.slot).has(slot)).flatMap(({ at }) => [...frames('messenger', at), ...frames('repeater', at)]);
      for (const listener of listeners) for (const frame of due) await listener.got(frame);
    }
    // What comes after: repeaters take turns, so each hub marks until its own has got a mark.
    await eventually(() => {
      for (const { writer, at } of sites) writer.send(`MARK\n${at}`);
      return sites.every((to) => to.repeater.frames.includes(`MARK\n${to.at}`) && to.listeners.every((listener) => sites.filter((from) => reach(from.slot).has(to.slot)).every(({ at }) => listener.frames.includes(`MARK\n${at}`))));
    }, { what: 'marks to come' });
    const events = ({ frames: got }: TestPeer): string[] => got.filter((frame) => frame.startsWith('A\n'));
    for (const { slot, listeners } of sites) {
      for (const listener of listeners) {
        const due = sites.filter((from) => reach(from.slot).has(slot)).flatMap(({ at }) => [...frames('messenger', at), ...frames('repeater', at)]);
        expect([...events(listener)].sort()).toEqual([...due].sort());
        for (const { at } of sites) for (const kind of ['messenger', 'repeater']) {
          const of = events(listener).filter((frame) => frame.startsWith(`A\n${kind} ${at} `));
          expect(of).toEqual(frames(kind, at).filter((frame) => of.includes(frame)));
        }
      }
    }
    // In each cluster its messengers' events, each once, and nothing else.
    const toRepeaters = sites.map(({ repeater, slot }) => ({ slot, got: events(repeater) }));
    for (const { slot } of sites) {
      const got = toRepeaters.filter((other) => mates(slot).includes(other.slot)).flatMap((other) => other.got);
      expect([...got].sort()).toEqual(sites.filter((other) => mates(slot).includes(other.slot)).flatMap(({ at }) => frames('messenger', at)).sort());
    }
    for (const { listeners, writer, repeater } of sites) for (const peer of [...listeners, writer, repeater]) await peer.leave();
  }
  return { start, stop, link, unlink, expectExactlyOnce };
}

type Site = Awaited<ReturnType<typeof createSite>>;
const startAll = async (clusters: readonly (number | undefined)[]): Promise<Site> => {
  const site = await createSite(clusters);
  for (const at of clusters.keys()) await site.start(at);
  return site;
};
const alone = undefined;

describe('every subscriber gets every event once, and one repeater of the cluster does', () => {
  it.each<[string, readonly (number | undefined)[], readonly (readonly [number, number])[]]>([
    ['two hubs, linked', [alone, alone], [[0, 1]]],
    ['three hubs, linked pairwise', [alone, alone, alone], [[0, 1], [1, 2], [2, 0]]],
    ['four hubs in a circle: one hop only', [alone, alone, alone, alone], [[0, 1], [1, 2], [2, 3], [3, 0]]],
    ['four hubs in a line', [alone, alone, alone, alone], [[0, 1], [1, 2], [2, 3]]],
    ['a cluster of two, and a hub linked with one', [1, 1, alone], [[2, 0]]],
    ['a cluster of two, and a hub linked with both', [1, 1, alone], [[2, 0], [2, 1]]],
    ['a cluster of two that both link to a hub', [1, 1, alone], [[0, 2], [1, 2]]],
    ['a hub linked with its own cluster-mate', [1, 1], [[0, 1]]],
    ['hubs linked with their own cluster-mates, and one beside', [1, 1, 1, alone], [[0, 1], [1, 2], [0, 3]]],
    ['two hubs that are linked through a cluster: one hop only', [1, 1, alone, alone], [[2, 0], [3, 1]]],
    ['two clusters with two links between', [1, 1, 2, 2], [[0, 2], [1, 3]]],
  ])('%s', async (_, clusters, links) => {
    const site = await startAll(clusters);
    for (const [from, to] of links) expect(await site.link(from, to)).toBe(200);
    await site.expectExactlyOnce();
  });

  it('two hubs that link each other in the same moment', async () => {
    const site = await startAll([alone, alone]);
    expect(await Promise.all([site.link(0, 1), site.link(1, 0)])).toContain(200);
    await site.expectExactlyOnce();
  });

  it('whatever was started, stopped, linked and unlinked before', async () => {
    const at = fc.nat({ max: 3 });
    const step = fc.oneof(
      fc.record({ do: fc.constant('start' as const), at }),
      fc.record({ do: fc.constant('stop' as const), at }),
      fc.record({ do: fc.constantFrom('link' as const, 'both' as const, 'unlink' as const), at, to: at }),
    );
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 12 }), async (steps) => {
      const site = await startAll([1, 1, alone, alone]);
      for (const one of steps) {
        if (one.do === 'start') await site.start(one.at);
        else if (one.do === 'stop') await site.stop(one.at);
        else if (one.do === 'unlink') await site.unlink(one.at, one.to);
        else await Promise.all([site.link(one.at, one.to), ...(one.do === 'both' ? [site.link(one.to, one.at)] : [])]);
      }
      await site.expectExactlyOnce();
      await closeAll();
    }), { numRuns: 20, endOnFailure: true });
  }, 60_000);
});
