import { eventNameOf } from '@carillon/access';
import type { StoredEvent } from '@carillon/log';
import { createRoute, type BatchWriter, type DeliveryFilter, type Lane, type OutboundEvent, type Route, type Subscriptions } from '@carillon/session';
import { ALL_ROOMS, formatTagFields, type RecentIds } from '@carillon/wire';

import type { HubCounts } from '../counts.ts';
import { originOf, type DurableLane, type Publish, type PublishAnswer } from '../durable/durable-lane.ts';
import type { Lanes } from '../durable/lanes.ts';
import { LinkRoutes } from './link-routes.ts';
import type { WorkspaceTrail } from '../trail/trail-workspace.ts';

/**
 * The routing table of one workspace, for a hub and for a cluster of hubs as a whole:
 *
 *   from        │ messengers of the room │ every linked hub │ one repeater │ hubs of the cluster
 *   messenger   │ all others             │ yes              │ yes          │ yes
 *   repeater    │ all                    │ yes (not in a    │ no           │ yes
 *               │                        │ room's hub)      │              │
 *   hub link    │ all                    │ no               │ no           │ yes, for their messengers
 *   cluster     │ all                    │ as for where it  │ only if it   │ no
 *               │                        │ came from        │ is its turn  │
 *
 * "One repeater": a hub that has repeaters gives the event to the next of its own; one that has none leaves the choice
 * to NATS, which picks one hub among those that have (a queue group).
 *
 * Whoever may not receive an event's room is left out as if not there; what was allowed is kept with the routes.
 *
 * That is the live lane. An event of a durable room goes to the log first (docs/adr/0011): messengers and links of every
 * hub get it from the log's tail, in the log's order; a repeater gets it from the hub that stored it.
 */

/** Where an event entered the cluster, and whether a repeater is still owed (`q`). */
export type Origin = 'messenger' | 'messenger-owed' | 'repeater' | 'hub';

export interface ClusterDoor {
  publish(room: string, origin: Origin, event: OutboundEvent): void;
  /** Leaves a stored event to a hub that has a repeater. */
  offer(event: OutboundEvent): void;
  /** How many links and repeaters this hub has: it wants every event while it has links, owed ones while it has repeaters. */
  present(links: number, repeaters: number): void;
}

/** Where events of durable rooms go, and who gets them from there. */
export interface DurableRoutes {
  readonly lane: DurableLane;
  readonly lanes: Lanes;
  readonly subscriptions: Subscriptions;
}

export interface RouterOptions {
  readonly writer: BatchWriter;
  readonly subscriptions: Subscriptions;
  readonly counts: HubCounts;
  readonly recentIds: RecentIds;
  /** Ids of cluster events that went to the links of this hub. */
  readonly forwardedIds: RecentIds;
  readonly nextId: () => string;
  /** The hub stands in a room: repeater frames go to no other hub. */
  readonly inRoom: boolean;
  /** What links and repeaters may have (the filter of `subscriptions` says it of messengers); default: everything. */
  readonly filter?: DeliveryFilter;
  /** Keeps an event until it is due; what becomes of it is told to `publish.answer`. None: nothing can be delayed. */
  readonly delay?: ((room: string, origin: Origin, delayed: DelayedPublish) => void) | undefined;
  /** Where it is noted what became of events of durable rooms. */
  readonly readerTrail?: WorkspaceTrail | undefined;
}

export interface DelayedPublish {
  readonly event: OutboundEvent;
  readonly publish: Publish;
  /** At least 1. */
  readonly delayMs: number;
}

export class Router {
  readonly #options: RouterOptions;
  readonly #repeaters: { readonly lane: Lane; readonly route: Route }[] = [];
  readonly #links: LinkRoutes;
  #nextRepeater = 0;
  /** The event whose name was read last: an event's is read once, and only when a right depends on it. */
  #named: OutboundEvent | undefined = undefined;
  #name: string | undefined = undefined;
  /** Links get every room, so the whole log is tailed for them. */
  #tailsAll = false;
  #cluster: ClusterDoor | undefined = undefined;
  #durable: DurableRoutes | undefined = undefined;
  /** Links this hub keeps that are down now: what would have gone there is counted. */
  linksDown = 0;
  /** Live tails, which show ids. */
  tails = 0;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#links = new LinkRoutes(options.filter);
  }

  get repeaters(): number {
    return this.#repeaters.length;
  }

  get links(): number {
    return this.#links.size;
  }

  joinCluster(cluster: ClusterDoor): void {
    this.#cluster = cluster;
    this.#present();
  }

  keepDurable(durable: DurableRoutes): void {
    this.#durable = durable;
  }

  /** An id for an event, or for whoever has no name of his own. */
  nextId(): string {
    return this.#options.nextId();
  }

  addRepeater(lane: Lane): void {
    this.#repeaters.push({ lane, route: createRoute([lane]) });
    this.#present();
  }

  removeRepeater(lane: Lane): void {
    const index = this.#repeaters.findIndex((repeater) => repeater.lane === lane);
    if (index !== -1) this.#repeaters.splice(index, 1);
    this.#present();
  }

  addLink(lane: Lane): void {
    this.#links.add(lane);
    this.#present();
  }

  removeLink(lane: Lane): void {
    this.#links.remove(lane);
    this.#present();
  }

  /** What somebody may have has changed: subscriptions stay, who gets what is decided anew. */
  invalidate(): void {
    this.#options.subscriptions.invalidate();
    this.#durable?.subscriptions.invalidate();
    this.#durable?.lanes.refresh();
    this.#links.invalidate();
  }

  fromMessenger(room: string, event: OutboundEvent, publish: Publish = {}): void {
    if (this.#isDelayed(room, 'messenger', event, publish)) return;
    if (this.#toLog(room, 'messenger', event, publish)) return;
    if (publish.id === undefined) this.#identify(event);
    else {
      event.fields = liveFields(publish.id, publish);
      publish.answer?.published(publish.id, { seq: 0, class: 'live' });
      // Its publisher had no ack and sends it again.
      if (!this.#isNew(publish.id)) return;
    }
    this.#toMessengers(room, event);
    this.#toLinks(room, event);
    const given = this.#toOneRepeater(room, event) !== undefined;
    if (this.#cluster !== undefined) this.#cluster.publish(room, given ? 'messenger' : 'messenger-owed', event);
    else if (!given && this.#repeaters.length > 0) this.#options.counts.drop('denied', 1);
  }

  fromRepeater(room: string, event: OutboundEvent, publish: Publish = {}): void {
    if (this.#isDelayed(room, 'repeater', event, publish)) return;
    if (this.#toLog(room, 'repeater', event, publish)) return;
    if (publish.id === undefined) this.#identify(event);
    else {
      event.fields = liveFields(publish.id, publish);
      publish.answer?.published(publish.id, { seq: 0, class: 'live' });
      if (!this.#isNew(publish.id)) return;
    }
    this.#toMessengers(room, event);
    if (!this.#options.inRoom) this.#toLinks(room, event);
    this.#cluster?.publish(room, 'repeater', event);
  }

  /** From a hub link. An event that came another way already goes nowhere. */
  fromHub(room: string, event: OutboundEvent, id: string | undefined): void {
    if (this.#toLog(room, 'hub', event, { id })) return;
    if (id === undefined) this.#identify(event);
    else {
      if (!this.#isNew(id)) return;
      event.fields = `\tid=${id}`;
    }
    this.#toMessengers(room, event);
    this.#cluster?.publish(room, 'hub', event);
  }

  /** From another hub of the cluster. */
  fromCluster(room: string, origin: Origin, event: OutboundEvent, id: string): void {
    if (this.#isNew(id)) this.#toMessengers(room, event);
    if (this.links === 0 || origin === 'hub' || (origin === 'repeater' && this.#options.inRoom)) return;
    // Not by whether it is new: where hubs of a cluster are linked too, it may have come over that link first, as an
    // event that goes to no other link.
    if (this.#options.forwardedIds.add(id)) this.#toLinks(room, event);
  }

  /** From another hub of the cluster that had no repeater for it; false when this one has none either, or none that may receive it. */
  offerRepeater(room: string, event: OutboundEvent): boolean {
    const lane = this.#toOneRepeater(room, event);
    const { readerTrail } = this.#options;
    if (lane !== undefined && readerTrail !== undefined && this.#durable?.lanes.of(room) === 'durable') readerTrail.given(lane, { id: ID_FIELD.exec(event.fields)?.[1] ?? '' });
    return lane !== undefined;
  }

  /** From the log, ours or another hub's. */
  fromLog(event: OutboundEvent, stored: StoredEvent): void {
    const durable = this.#durable;
    if (durable === undefined) return;
    const { room } = stored;
    const ofRoom = durable.subscriptions.route(room);
    const route = ofRoom.byEvent ? durable.subscriptions.routeForEvent(room, this.#nameOf(event)) : ofRoom;
    this.#options.writer.add(event, route);
    if (route.denied.length > 0) this.#options.readerTrail?.denied(route.denied, stored);
    const origin = originOf(stored.fields);
    if (origin === 'hub' || (origin === 'repeater' && this.#options.inRoom)) return;
    const links = this.#toLinks(room, event);
    if (links !== undefined && links.lanes.length < this.#links.size) this.#options.readerTrail?.denied(this.#links.denied(links), stored);
  }

  /** An event that this hub took is stored: a repeater is owed one of a messenger. */
  stored(event: OutboundEvent, { room, origin, seq }: { readonly room: string; readonly origin: Origin; readonly seq: number }): void {
    if (origin !== 'messenger') return;
    const lane = this.#toOneRepeater(room, event);
    if (lane !== undefined) this.#options.readerTrail?.given(lane, { seq });
    else if (this.#cluster !== undefined) this.#cluster.offer(event);
    else if (this.#repeaters.length > 0) this.#options.counts.drop('denied', 1);
  }

  /** Only what will be stored can wait: of a live room nobody promised to keep anything. */
  #isDelayed(room: string, origin: Origin, event: OutboundEvent, publish: Publish): boolean {
    const { delayMs = 0 } = publish;
    if (delayMs === 0) return false;
    const { delay } = this.#options;
    if (delay !== undefined && this.#durable?.lanes.of(room) === 'durable') delay(room, origin, { event, publish: this.#noted(room, publish), delayMs });
    else this.#noted(room, publish).answer?.refused(publish.id ?? '', 'DELAY_INVALID', room);
    return true;
  }

  /** A publish of which it is noted when it is refused. */
  #noted(room: string, publish: Publish): Publish {
    const { readerTrail } = this.#options;
    const { answer, from } = publish;
    if (readerTrail === undefined || answer === undefined) return publish;
    const refused: PublishAnswer['refused'] = (id, code) => {
      readerTrail.note({ kind: 'refused', id, room, code, from });
      answer.refused(id, code, room);
    };
    return { ...publish, answer: { published: (id, place) => answer.published(id, place), refused } };
  }

  /** False when the room is a live one. */
  #toLog(room: string, origin: Origin, event: OutboundEvent, publish: Publish): boolean {
    const durable = this.#durable;
    if (durable?.lanes.of(room) !== 'durable') return false;
    durable.lane.append(room, origin, event, publish);
    return true;
  }

  #present(): void {
    const wantsAll = this.#links.size > 0;
    if (wantsAll !== this.#tailsAll && this.#durable !== undefined) {
      this.#tailsAll = wantsAll;
      if (wantsAll) void this.#durable.lane.interests.add(ALL_ROOMS).catch(() => undefined); // said by the interests
      else this.#durable.lane.interests.remove(ALL_ROOMS);
    }
    this.#cluster?.present(this.links, this.repeaters);
  }

  #toMessengers(room: string, event: OutboundEvent): void {
    const { subscriptions, writer } = this.#options;
    const route = subscriptions.route(room);
    writer.add(event, route.byEvent ? subscriptions.routeForEvent(room, this.#nameOf(event)) : route);
  }

  /** The links that get it; undefined: there are none. */
  #toLinks(room: string, event: OutboundEvent): Route | undefined {
    if (this.linksDown > 0) this.#options.counts.drop('link-down', this.linksDown);
    if (this.#links.size === 0) return undefined;
    const route = this.#links.route(room, () => this.#nameOf(event));
    this.#options.counts.drop('denied', this.#links.size - route.lanes.length);
    this.#options.writer.add(event, route);
    return route;
  }

  /** Gives it to the next repeater that may receive it; undefined: there is none. */
  #toOneRepeater(room: string, event: OutboundEvent): Lane | undefined {
    const count = this.#repeaters.length;
    for (let tries = 0; tries < count; tries += 1) {
      this.#nextRepeater = (this.#nextRepeater + 1) % count;
      const repeater = this.#repeaters[this.#nextRepeater];
      if (repeater === undefined || !this.#mayReceive(repeater.lane, room, event)) continue;
      this.#options.writer.add(event, repeater.route);
      return repeater.lane;
    }
    return undefined;
  }

  #mayReceive(lane: Lane, room: string, event: OutboundEvent): boolean {
    const { filter } = this.#options;
    const decision = filter === undefined ? 'allow' : filter.decide(lane, room);
    return decision === 'allow' || (decision === 'by-event' && filter?.allows(lane, room, this.#nameOf(event)) === true);
  }

  #nameOf(event: OutboundEvent): string | undefined {
    if (event !== this.#named) {
      this.#named = event;
      this.#name = eventNameOf(event.bytes.subarray(event.tagEnd + 1));
    }
    return this.#name;
  }

  /** Gives an event its id once there is somebody who sees ids. */
  #identify(event: OutboundEvent): void {
    if (this.#cluster === undefined && this.#links.size === 0 && this.tails === 0) return;
    const id = this.#options.nextId();
    event.fields = `\tid=${id}`;
    // What we sent may come back by a way somebody has made into a circle.
    if (this.#cluster !== undefined || this.#links.size > 0) this.#options.recentIds.add(id);
  }

  #isNew(id: string): boolean {
    const fresh = this.#options.recentIds.add(id);
    if (!fresh) this.#options.counts.dropped.add('duplicate');
    return fresh;
  }
}

const ID_FIELD = /\tid=([^\t]+)/;

function liveFields(id: string, { from, atMs, eventAtMs, ttlMs, traceparent, replyTo }: Publish): string {
  return formatTagFields({ id, ...(atMs === undefined ? {} : { at: atMs }), ...(from === undefined ? {} : { from }), ...(ttlMs === undefined ? {} : { ttl: ttlMs }), ...(traceparent === undefined ? {} : { tp: traceparent }), ...(replyTo === undefined ? {} : { rt: replyTo }), ...(eventAtMs === undefined ? {} : { et: eventAtMs }) });
}
