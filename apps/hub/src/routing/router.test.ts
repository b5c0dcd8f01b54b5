import { BatchWriter, Lane, LaneGroup, Subscriptions, type Codec, type OutboundEvent } from '@carillon/session';
import { matchesPattern, RecentIds } from '@carillon/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { HubCounts } from '../counts.ts';
import { Router, type ClusterDoor, type Origin } from './router.ts';

/** Bodies apart by a zero byte: what is written can be read back. */
const PLAIN: Codec = {
  name: 'v1', version: 1, shared: true,
  size: ({ bytes, tagEnd }) => bytes.length - tagEnd,
  write: ({ bytes, tagEnd }, target, at) => target.writeUInt8(0, at + bytes.copy(target, at, tagEnd + 1)),
};

interface Published {
  readonly room: string;
  readonly origin: Origin;
  readonly body: string;
  readonly id: string | undefined;
}

const bodyOf = ({ bytes, tagEnd }: OutboundEvent): string => bytes.subarray(tagEnd + 1).toString('utf8');
const idOf = ({ fields }: OutboundEvent): string | undefined => /\tid=(.+)/.exec(fields)?.[1];

/** A router whose peers note the bodies they get. */
function setUp(options: { readonly inRoom?: boolean; readonly cluster?: boolean } = {}) {
  const writer = new BatchWriter({ endOfCallback: () => undefined, endOfTurn: () => undefined, after: () => undefined, now: () => 0 });
  const subscriptions = new Subscriptions();
  const counts = new HubCounts();
  const group = new LaneGroup(1e9);
  let ids = 0;
  const router = new Router({ writer, subscriptions, counts, recentIds: new RecentIds(1_000), forwardedIds: new RecentIds(1_000), nextId: () => `own-${ids++}`, inRoom: options.inRoom ?? false });
  const published: Published[] = [];
  const present: [number, number][] = [];
  const cluster: ClusterDoor = {
    publish: (room, origin, event) => published.push({ room, origin, body: bodyOf(event), id: idOf(event) }),
    offer: () => undefined, present: (links, repeaters) => present.push([links, repeaters]),
  };
  if (options.cluster === true) router.joinCluster(cluster);
  const peer = () => {
    let text = '';
    const sink = { writableLength: 0, destroyed: false, write: (chunk: Buffer) => ((text += chunk.toString('utf8')), true), cork: () => undefined, uncork: () => undefined, once: () => undefined };
    const lane = new Lane(sink, { codec: PLAIN, owner: { laneCut: () => undefined }, group, maxBytes: 1e9 });
    return { lane, got: () => text.split('\0').slice(0, -1) };
  };
  return { router, writer, subscriptions, counts, published, present, peer };
}

function eventOf(room: string, body: string, source?: Lane): OutboundEvent {
  const bytes = Buffer.from(`${room}\n${body}`);
  const tagEnd = Buffer.byteLength(room);
  return { bytes, roomEnd: tagEnd, tagEnd, fields: '', source, order: 0 };
}

const ROOMS = ['A-1', 'A-2', 'B-1', 'a-1'];
const PATTERNS = ['A-1', 'A-2', 'B-1', 'a-1', '*', '**', 'A-*', '*-1', 'A-**'];

const site = fc.record({
  messengers: fc.array(fc.uniqueArray(fc.constantFrom(...PATTERNS)), { minLength: 1, maxLength: 5 }),
  repeaters: fc.nat({ max: 3 }),
  links: fc.nat({ max: 3 }),
  inRoom: fc.boolean(),
  cluster: fc.boolean(),
  // Kind, which of that kind, room, flush after it.
  events: fc.array(fc.tuple(fc.constantFrom('messenger', 'http', 'repeater', 'hub', 'cluster-m', 'cluster-q', 'cluster-r', 'cluster-h'), fc.nat({ max: 4 }), fc.constantFrom(...ROOMS), fc.boolean()), { maxLength: 30 }),
});

const ORIGINS: Readonly<Record<string, Origin>> = { 'cluster-m': 'messenger', 'cluster-q': 'messenger-owed', 'cluster-r': 'repeater', 'cluster-h': 'hub' };

describe('the router', () => {
  it('gives each event to whom the table says, once, in order, whoever is there and whatever comes in one turn', () => {
    fc.assert(fc.property(site, ({ messengers, repeaters, links, inRoom, cluster, events }) => {
      const { router, writer, subscriptions, published, peer } = setUp({ inRoom, cluster });
      const of = {
        messenger: messengers.map((patterns) => ({ ...peer(), patterns, want: [] as string[] })),
        repeater: Array.from({ length: repeaters }, () => ({ ...peer(), want: [] as string[] })),
        hub: Array.from({ length: links }, () => ({ ...peer(), want: [] as string[] })),
      };
      for (const { lane, patterns } of of.messenger) for (const pattern of patterns) subscriptions.add(pattern, lane);
      for (const { lane } of of.repeater) router.addRepeater(lane);
      for (const { lane } of of.hub) router.addLink(lane);
      const owed: string[] = [];
      const wantPublished: [string, Origin, string][] = [];
      for (const [at, [kind, which, room, flush]] of events.entries()) {
        const body = `event ${at}`;
        const own = kind === 'messenger' || kind === 'repeater' || kind === 'hub' ? of[kind][which % Math.max(1, of[kind].length)] : undefined;
        if (own === undefined && (kind === 'repeater' || kind === 'hub')) continue;
        const event = eventOf(room, body, own?.lane);
        const origin = ORIGINS[kind];
        if (origin !== undefined) router.fromCluster(room, origin, event, `other-${at}`);
        else if (kind === 'repeater') router.fromRepeater(room, event);
        else if (kind === 'hub') router.fromHub(room, event, which === 0 ? undefined : `other-${at}`);
        else router.fromMessenger(room, event);
        if (flush) writer.flush();
        const isMessengers = kind === 'messenger' || kind === 'http';
        for (const one of of.messenger) if (one !== own && one.patterns.some((pattern) => matchesPattern(pattern, room))) one.want.push(body);
        if (isMessengers || kind === 'cluster-m' || kind === 'cluster-q' || ((kind === 'repeater' || kind === 'cluster-r') && !inRoom)) for (const one of of.hub) one.want.push(body);
        if (isMessengers) owed.push(body);
        if (cluster && origin === undefined) wantPublished.push([room, isMessengers ? (repeaters > 0 ? 'messenger' : 'messenger-owed') : (kind as Origin), body]);
      }
      writer.flush();
      for (const { got, want } of [...of.messenger, ...of.hub]) expect(got()).toEqual(want);
      const given = of.repeater.map(({ got }) => got());
      expect(given.flat().sort()).toEqual(repeaters === 0 ? [] : [...owed].sort());
      for (const one of given) {
        expect(one).toEqual(owed.filter((body) => one.includes(body)));
        expect(Math.abs(one.length - owed.length / repeaters)).toBeLessThan(1);
      }
      expect(published.map(({ room, origin, body }) => [room, origin, body])).toEqual(wantPublished);
      expect(published.every(({ id }) => id !== undefined)).toBe(true);
    }), { numRuns: 300 });
  });

  it('drops what has come already, by a link, the cluster, or from itself, and counts it', () => {
    const { router, writer, subscriptions, counts, published, peer } = setUp({ cluster: true });
    const listener = peer();
    subscriptions.add('A', listener.lane);
    router.fromMessenger('A', eventOf('A', 'mine'));
    const id = published[0]?.id ?? '';
    router.fromHub('A', eventOf('A', 'mine again'), id);
    router.fromCluster('A', 'messenger', eventOf('A', 'and again'), id);
    router.fromHub('A', eventOf('A', 'theirs'), 'other');
    router.fromCluster('A', 'hub', eventOf('A', 'theirs again'), 'other');
    router.fromHub('A', eventOf('A', 'theirs once more'), 'other');
    writer.flush();
    expect(listener.got()).toEqual(['mine', 'theirs']);
    expect(published).toHaveLength(2);
    expect(counts.dropped.get('duplicate')).toBe(4);
  });

  it('passes an event of the cluster on to its links, also when it has come over one of them before', () => {
    const { router, writer, subscriptions, peer } = setUp({ cluster: true });
    const [listener, mate, far] = [peer(), peer(), peer()];
    subscriptions.add('A', listener.lane);
    for (const { lane } of [mate, far]) router.addLink(lane);
    router.fromHub('A', eventOf('A', 'by the link', mate.lane), 'one');
    for (let copies = 0; copies < 2; copies += 1) router.fromCluster('A', 'messenger', eventOf('A', 'by the cluster'), 'one');
    router.fromCluster('A', 'hub', eventOf('A', 'of a link elsewhere'), 'two');
    router.fromCluster('A', 'repeater', eventOf('A', 'of a repeater'), 'three');
    router.fromHub('A', eventOf('A', 'of a repeater, by the link', mate.lane), 'three');
    writer.flush();
    expect(listener.got()).toEqual(['by the link', 'of a link elsewhere', 'of a repeater']);
    expect(far.got()).toEqual(['by the cluster', 'of a repeater']);
  });

  it('says whether it took an owed event, and tells the cluster of every link and repeater that comes and goes', () => {
    const { router, writer, present, peer } = setUp({ cluster: true });
    const [repeater, link] = [peer(), peer()];
    expect(router.offerRepeater('A', eventOf('A', 'nobody'))).toBe(false);
    router.addRepeater(repeater.lane);
    router.addLink(link.lane);
    expect(router.offerRepeater('A', eventOf('A', 'owed'))).toBe(true);
    writer.flush();
    expect([repeater.got(), link.got()]).toEqual([['owed'], []]);
    router.removeRepeater(repeater.lane);
    router.removeRepeater(repeater.lane);
    router.removeLink(link.lane);
    expect(router.offerRepeater('A', eventOf('A', 'late'))).toBe(false);
    expect(present).toEqual([[0, 0], [0, 1], [1, 1], [1, 0], [1, 0], [0, 0]]);
  });
});
