import type { ErrorCode } from '@carillon/wire';
import { ModelConsumers } from './model-consumers.test.fixture.ts';
import { ModelPeer } from './model-peer.test.fixture.ts';
import { ModelPresence } from './model-presence.test.fixture.ts';

/** An event of the model's log. */
export interface ModelEvent {
  readonly room: string;
  readonly id: string;
  readonly seq: number;
  readonly from: string;
  readonly body: string;
  /** Of a request: where replies go. */
  readonly replyTo?: string;
}

type Publish = Omit<ModelEvent, 'room' | 'seq'>;

export interface ModelHubOptions {
  readonly publishesMax?: number;
  readonly frameMaxBytes?: number;
  /** Rooms of which nothing is kept. */
  readonly isLiveRoom?: (room: string) => boolean;
  /** Whether it says how far it is after each event, as one that knows does; otherwise it does not say. Default true. */
  readonly marks?: boolean;
  /** A refusal for a publish, instead of storing it. */
  readonly refuse?: (id: string) => ErrorCode | undefined;
  /** A refusal for an access key. */
  readonly refuseKey?: (key: string) => ErrorCode | undefined;
  /** Whether it gives inboxes; default true. */
  readonly givesInboxes?: boolean;
}

/**
 * What a hub of the second protocol does, without sockets and time: a log that takes an id once, subscriptions that are
 * caught up when the test says so, and acks that are given when the test says so. Small enough to see through.
 */
export class ModelHub {
  epoch = 'epoch-1';
  readonly log: ModelEvent[] = [];
  readonly peers = new Set<ModelPeer>();
  readonly options: ModelHubOptions;
  readonly consumers = new ModelConsumers(this);
  readonly presence = new ModelPresence();
  readonly inboxes = new Map<string, ModelPeer>();
  /** Publishes whose delay is not over. */
  readonly delayed: { readonly delayMs: number; readonly fire: () => void }[] = [];
  /** Sequences up to this one are past retention. */
  retainedAfter = 0;
  #seq = 0;
  #joined = 0;

  constructor(options: ModelHubOptions = {}) {
    this.options = options;
  }

  get head(): number {
    return this.#seq;
  }

  join(send: (frame: Uint8Array | string) => void): ModelPeer {
    const peer = new ModelPeer(this, send, `inbox-${(this.#joined += 1)}`);
    this.peers.add(peer);
    return peer;
  }

  /** Stores an event, once an id, and routes it; 0: it was routed only. */
  publish(room: string, event: Publish): number {
    if (this.options.isLiveRoom?.(room) === true) {
      for (const peer of this.peers) peer.route({ room, seq: 0, ...event });
      return 0;
    }
    const known = this.log.find(({ id }) => id === event.id);
    if (known !== undefined) return known.seq;
    const stored = this.store(room, event);
    for (const peer of this.peers) peer.route(stored);
    return stored.seq;
  }

  /** Stores an event that nobody is told of yet. */
  store(room: string, event: Publish): ModelEvent {
    const stored = { room, seq: (this.#seq += 1), ...event };
    this.log.push(stored);
    return stored;
  }

  /** A log made anew. */
  renew(epoch: string): void {
    this.epoch = epoch;
    this.log.length = 0;
    this.#seq = 0;
    this.retainedAfter = 0;
  }
}
