import type { Connection, ConnectionClose, ConnectionHandler, Heartbeat, OutboundEvent, Subscriptions } from '@carillon/session';
import type { Logger } from '@carillon/runtime';
import {
  formatControl, parseControl, parseFrame, parseSubscriptionChange, splitFrame, type DropReason, type ErrorCode, type WireLimits,
} from '@carillon/wire';

import type { HubCounts } from './counts.ts';
import type { Router } from './router.ts';

/**
 * What each kind of peer may say, and what becomes of it. Malformed frames close a messenger with their code. A repeater
 * or a linked hub speaks for others: one bad frame is refused (counted, logged, answered with an error frame, which
 * original peers ignore) and the connection lives, so that nobody behind it loses theirs.
 */
export interface PeerOptions {
  readonly router: Router;
  readonly subscriptions: Subscriptions;
  readonly counts: HubCounts;
  readonly heartbeat: Heartbeat;
  readonly limits: WireLimits;
  /** Of frames between hubs, which carry an id. */
  readonly linkLimits: WireLimits;
  readonly log: Logger;
}

export interface Peer {
  readonly id: string;
  readonly connection: Connection;
  /** Patterns of a messenger. */
  readonly patterns: Set<string>;
}

export type PeerKind = 'messenger' | 'repeater' | 'hub';

/** Why events that a cut peer still had coming are gone. */
const CUT_REASONS: Readonly<Partial<Record<ErrorCode, DropReason>>> = {
  PEER_SLOW: 'peer-slow',
  PEER_STALLED: 'peer-slow',
  MEMORY_PRESSURE: 'memory-pressure',
};

const NO_PATTERNS: ReadonlySet<string> = new Set();

export class Peers {
  readonly messengers = new Map<Connection, Peer>();
  readonly repeaters = new Map<Connection, Peer>();
  readonly hubs = new Map<Connection, Peer>();
  /** Links that another hub of the cluster uses in our place. */
  readonly #standby = new Set<Connection>();
  readonly #options: PeerOptions;
  #joined = 0;

  constructor(options: PeerOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.messengers.size + this.repeaters.size + this.hubs.size;
  }

  *connections(): Generator<Connection> {
    yield* this.messengers.keys();
    yield* this.repeaters.keys();
    yield* this.hubs.keys();
  }

  handler(kind: PeerKind): ConnectionHandler {
    return this.#handlers[kind];
  }

  /** Takes a connection in as its kind. Ids follow the original's habit: address and a number. */
  join(kind: PeerKind, connection: Connection, id?: string): Peer {
    this.#joined += 1;
    const peer: Peer = { id: id ?? `${connection.remoteAddress}#${this.#joined}`, connection, patterns: kind === 'messenger' ? new Set() : (NO_PATTERNS as Set<string>) };
    this.#options.heartbeat.watch(connection);
    this.#of(kind).set(connection, peer);
    if (kind === 'repeater') this.#options.router.addRepeater(connection.lane);
    if (kind === 'hub') this.#options.router.addLink(connection.lane);
    return peer;
  }

  /** Uses a hub link, or lets it stand by: nothing is sent on it and what comes is another hub's to take. */
  setActive(connection: Connection, active: boolean): void {
    if (!this.hubs.has(connection) || active === !this.#standby.has(connection)) return;
    if (active) {
      this.#standby.delete(connection);
      this.#options.router.addLink(connection.lane);
    } else {
      this.#standby.add(connection);
      this.#options.router.removeLink(connection.lane);
    }
  }

  #of(kind: PeerKind): Map<Connection, Peer> {
    switch (kind) {
      case 'messenger':
        return this.messengers;
      case 'repeater':
        return this.repeaters;
      case 'hub':
        return this.hubs;
      default:
        return kind satisfies never;
    }
  }

  readonly #handlers: Readonly<Record<PeerKind, ConnectionHandler>> = {
    messenger: {
      frame: (connection, bytes) => this.#fromPeer('messenger', connection, bytes),
      text: (connection, text) => this.#changeSubscriptions(connection, text),
      closed: (connection, close) => this.#messengerClosed(connection, close),
    },
    repeater: {
      frame: (connection, bytes) => this.#fromPeer('repeater', connection, bytes),
      text: (connection) => this.#close(connection, 'TEXT_UNEXPECTED', 'from a repeater'),
      closed: (connection, close) => {
        this.#options.router.removeRepeater(connection.lane);
        this.#left('repeater', connection, close);
      },
    },
    hub: {
      frame: (connection, bytes) => this.#fromHub(connection, bytes),
      text: (connection, text) => this.#fromHubText(connection, text),
      closed: (connection, close) => {
        this.#standby.delete(connection);
        this.#options.router.removeLink(connection.lane);
        this.#left('hub', connection, close);
      },
    },
  };

  #fromPeer(kind: 'messenger' | 'repeater', connection: Connection, bytes: Buffer): void {
    const { limits, counts, router } = this.#options;
    const frame = splitFrame(bytes, 1, limits);
    if (!frame.ok) {
      if (kind === 'messenger') this.#close(connection, frame.code, frame.detail);
      else this.#tell(connection, frame.code, frame.detail);
      return;
    }
    counts.take(kind, bytes.length);
    const event: OutboundEvent = { bytes, roomEnd: frame.roomEnd, tagEnd: frame.tagEnd, fields: '', source: connection.lane, order: 0 };
    if (kind === 'messenger') router.fromMessenger(frame.room, event);
    else router.fromRepeater(frame.room, event);
  }

  #fromHub(connection: Connection, bytes: Buffer): void {
    const { linkLimits, counts, router } = this.#options;
    if (this.#standby.has(connection)) {
      counts.drop('duplicate', 1);
      return;
    }
    const frame = parseFrame(bytes, connection.version, linkLimits);
    if (!frame.ok) {
      this.#tell(connection, frame.code, frame.detail);
      return;
    }
    counts.take('hub', bytes.length);
    const tagEnd = bytes.length - frame.body.length - 1;
    const roomEnd = Buffer.byteLength(frame.room);
    router.fromHub(frame.room, { bytes, roomEnd, tagEnd, fields: '', source: connection.lane, order: 0 }, frame.fields.id);
  }

  /** The other hub tells what it refused; anything else a hub says in text is not understood. */
  #fromHubText(connection: Connection, text: string): void {
    const parsed = parseControl(text, this.#options.limits);
    if (!parsed.ok) {
      this.#options.counts.refuse(parsed.code);
      return;
    }
    if (parsed.frame.op === 'error') this.#options.log.warn({ peer: connection.remoteAddress, code: parsed.frame.code, detail: parsed.frame.detail }, 'linked hub refused a frame');
  }

  #changeSubscriptions(connection: Connection, text: string): void {
    const peer = this.messengers.get(connection);
    if (peer === undefined) return;
    const { limits, subscriptions } = this.#options;
    const parsed = parseSubscriptionChange(text, limits);
    if (!parsed.ok) {
      this.#tell(connection, parsed.code, parsed.detail);
      return;
    }
    for (const pattern of parsed.change.rooms) {
      if (!parsed.change.create) {
        if (peer.patterns.delete(pattern)) subscriptions.remove(pattern, connection.lane);
      } else if (!peer.patterns.has(pattern)) {
        if (peer.patterns.size >= limits.patternsMax) {
          this.#tell(connection, 'SUBSCRIPTIONS_EXCEEDED', `at most ${limits.patternsMax}`);
          return;
        }
        peer.patterns.add(pattern);
        subscriptions.add(pattern, connection.lane);
      }
    }
  }

  #messengerClosed(connection: Connection, close: ConnectionClose): void {
    for (const pattern of this.messengers.get(connection)?.patterns ?? NO_PATTERNS) this.#options.subscriptions.remove(pattern, connection.lane);
    this.#left('messenger', connection, close);
  }

  #left(kind: PeerKind, connection: Connection, close: ConnectionClose): void {
    const { counts, heartbeat, log } = this.#options;
    const peer = this.#of(kind).get(connection);
    this.#of(kind).delete(connection);
    heartbeat.forget(connection);
    counts.closed.add(close.cause ?? `${close.code}`);
    counts.drop(close.cause === undefined ? 'peer-gone' : (CUT_REASONS[close.cause] ?? 'peer-gone'), close.droppedEvents);
    const line = { kind, peer: peer?.id, code: close.code, cause: close.cause, droppedEvents: close.droppedEvents };
    if (close.cause !== undefined && close.cause !== 'DRAINING') log.warn(line, 'peer was closed');
    else log.debug(line, 'peer left');
  }

  /** A refusal that ends the connection. */
  #close(connection: Connection, code: ErrorCode, detail: string): void {
    this.#options.counts.refuse(code);
    this.#options.log.debug({ peer: connection.remoteAddress, code, detail }, 'frame refused');
    connection.refuse(code);
  }

  /** A refusal that the connection survives. */
  #tell(connection: Connection, code: ErrorCode, detail: string): void {
    this.#options.counts.refuse(code);
    this.#options.log.debug({ peer: connection.remoteAddress, code, detail }, 'frame refused');
    connection.sendText(formatControl({ op: 'error', code, detail }));
  }
}
