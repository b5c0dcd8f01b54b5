import type { Principal } from '@carillon/access';
import type { Connection, ConnectionClose, ConnectionHandler, Heartbeat, Lane, OutboundEvent, Subscriptions } from '@carillon/session';
import type { Logger } from '@carillon/runtime';
import {
  formatControl, parseControl, parseFrame, splitFrame, type DropReason, type ErrorCode, type WireLimits,
} from '@carillon/wire';

import type { Admitted } from '../access/admission.ts';
import type { Consumers } from '../consumers/consumers.ts';
import type { HubCounts } from '../counts.ts';
import type { DelayedEvents } from '../delayed/delayed-events.ts';
import type { DurableLane } from '../durable/durable-lane.ts';
import type { Caller, Holders } from '../access/holders.ts';
import { Identity } from '../access/identity.ts';
import type { Intake } from '../routing/intake.ts';
import { MessengerSession, type SessionParts } from './messenger-session.ts';
import type { PageTurns } from '../durable/page-turns.ts';
import type { Presence } from '../presence/presence.ts';
import { readerOf, type JoinOptions, type Peer, type PeerKind } from './peer.ts';
import { PlainSubscriptions } from './plain-subscriptions.ts';
import type { Replies } from './replies.ts';
import type { Router } from '../routing/router.ts';
import { SessionPublisher } from './session-publisher.ts';
import type { WorkspaceTrail } from '../trail/trail-workspace.ts';
import type { Trail } from '../trail/trail.ts';
import type { SharedUse } from './session-refresh.ts';

/**
 * The peers of one workspace: what each kind may say, and what becomes of it. Malformed frames close a messenger with
 * their code. A repeater or a linked hub speaks for others: one bad frame is refused (counted, logged, answered with an
 * error frame, which original peers ignore) and the connection lives, so that nobody behind it loses theirs. What is well
 * formed and may not be is refused in that way to every peer.
 */
export interface PeerOptions {
  readonly hubId: string;
  readonly router: Router;
  /** The durable lane of a hub that keeps a log, and who wants what of it. */
  readonly durable: { readonly lane: DurableLane; readonly subscriptions: Subscriptions } | undefined;
  readonly turns: PageTurns;
  readonly presence: Presence | undefined;
  /** Durable consumers, of a hub that keeps a log, and where what they put off waits. */
  readonly consumers: Consumers | undefined;
  readonly delayed: DelayedEvents | undefined;
  readonly trail: Trail;
  /** Where it is noted who reads what; of a hub that keeps a log and a trail. */
  readonly readerTrail: WorkspaceTrail | undefined;
  readonly heartbeatMs: number;
  /** Writes what waits in batches. */
  readonly flush: () => void;
  readonly intake: Intake;
  readonly isDraining: () => boolean;
  readonly replies: Replies;
  readonly holders: Holders;
  /** Who goes on with another key on a connection that is open. */
  readonly refresh: (current: Caller, key: string) => Admitted;
  /** What all keys of the workspace use together. */
  readonly usage: () => SharedUse;
  /** Who is at the other end of a lane; kept by those who make lanes. */
  readonly principals: Map<Lane, Principal>;
  readonly subscriptions: Subscriptions;
  readonly counts: HubCounts;
  readonly heartbeat: Heartbeat;
  readonly limits: WireLimits;
  /** Of frames between hubs, which carry an id. */
  readonly linkLimits: WireLimits;
  readonly log: Logger;
}

/** Why events that a cut peer still had coming are gone. */
const CUT_REASONS: Readonly<Partial<Record<ErrorCode, DropReason>>> = {
  PEER_SLOW: 'peer-slow',
  PEER_STALLED: 'peer-slow',
  MEMORY_PRESSURE: 'memory-pressure',
};

const NO_PATTERNS: ReadonlySet<string> = new Set();

interface Arrived {
  readonly connection: Connection;
  readonly bytes: Buffer;
}

export class Peers {
  readonly messengers = new Map<Connection, Peer>();
  readonly repeaters = new Map<Connection, Peer>();
  readonly hubs = new Map<Connection, Peer>();
  /** Links that another hub of the cluster uses in our place. */
  readonly #standby = new Set<Connection>();
  /** Of peers that speak the second protocol. */
  readonly #sessions = new Map<Connection, MessengerSession>();
  readonly #publishers = new Map<Connection, SessionPublisher>();
  readonly #plain: PlainSubscriptions;
  readonly #options: PeerOptions;
  #joined = 0;

  constructor(options: PeerOptions) {
    this.#options = options;
    this.#plain = new PlainSubscriptions({ ...options, tell: (connection, code, detail) => this.#tell(connection, code, detail) });
  }

  get size(): number {
    return this.messengers.size + this.repeaters.size + this.hubs.size;
  }

  /** Has sessions hear where they are in the log; called now and then. */
  mark(): void {
    for (const session of this.#sessions.values()) session.mark();
  }

  *connections(): Generator<Connection> {
    yield* this.messengers.keys();
    yield* this.repeaters.keys();
    yield* this.hubs.keys();
  }

  /** What becomes of what a connection of this kind and principal says; one for each connection, so that an event costs no search. */
  handler(kind: PeerKind, principal: Principal): ConnectionHandler {
    switch (kind) {
      case 'messenger':
        return {
          frame: (connection, bytes) => {
            if (connection.version === 2) this.#sessions.get(connection)?.frame(bytes);
            else this.#fromPeer('messenger', principal, { connection, bytes });
          },
          text: (connection, text) => {
            if (connection.version === 2) this.#sessions.get(connection)?.text(text);
            else this.#changePlain(connection, text);
          },
          behind: (connection) => this.#sessions.get(connection)?.behind(),
          closed: (connection, close) => this.#messengerClosed(connection, close),
        };
      case 'repeater':
        return {
          frame: (connection, bytes) => {
            if (connection.version === 2) this.#publishers.get(connection)?.frame(bytes, { name: undefined });
            else this.#fromPeer('repeater', principal, { connection, bytes });
          },
          text: (connection) => this.#close(connection, 'TEXT_UNEXPECTED', 'from a repeater'),
          closed: (connection, close) => {
            this.#options.router.removeRepeater(connection.lane);
            this.#publishers.delete(connection);
            this.#left('repeater', connection, close);
          },
        };
      case 'hub':
        return {
          frame: (connection, bytes) => this.#fromHub(principal, { connection, bytes }),
          text: (connection, text) => this.#fromHubText(connection, text),
          closed: (connection, close) => {
            this.#standby.delete(connection);
            this.#options.router.removeLink(connection.lane);
            this.#left('hub', connection, close);
          },
        };
      default:
        return kind satisfies never;
    }
  }

  /** Takes a connection in as its kind. */
  join(kind: PeerKind, connection: Connection, { caller, id, left }: JoinOptions): Peer {
    this.#joined += 1;
    const identity = new Identity(caller, { holders: this.#options.holders, end: (code, retryAfterMs) => this.#end(connection, code, retryAfterMs) });
    const peer: Peer = {
      id: id ?? `${connection.remoteAddress}#${this.#joined}`, connection, identity, patterns: kind === 'messenger' ? new Set() : (NO_PATTERNS as Set<string>),
      name: `${this.#options.hubId}-${this.#joined.toString(36)}`,
      leave: () => {
        identity.release();
        left?.(identity.principal);
      },
    };
    this.#options.principals.set(connection.lane, caller.principal);
    this.#options.heartbeat.watch(connection);
    this.#of(kind).set(connection, peer);
    if (kind === 'repeater') this.#options.router.addRepeater(connection.lane);
    if (kind === 'hub') this.#options.router.addLink(connection.lane);
    if (kind === 'repeater') this.#options.readerTrail?.repeater(readerOf(peer));
    if (kind === 'hub') this.#options.readerTrail?.hearsAll({ how: 'link', ...readerOf(peer) });
    if (connection.version === 2) this.#openSession(kind, peer);
    else if (kind === 'messenger') this.#options.durable?.lane.publishers.set(peer.name, connection.lane);
    return peer;
  }

  #openSession(kind: PeerKind, { connection, identity, patterns }: Peer): void {
    const { router, durable, subscriptions } = this.#options;
    if (kind === 'messenger') {
      this.#sessions.set(connection, new MessengerSession({ ...this.#options, frameLimits: this.#options.linkLimits, connection, peer: identity, ...this.#refreshing(connection, identity), patterns, durable: durable?.lane, liveIndex: subscriptions, durableIndex: durable?.subscriptions ?? subscriptions }));
    } else if (kind === 'repeater') {
      const route: ConstructorParameters<typeof SessionPublisher>[0]['route'] = (room, event, publish) => router.fromRepeater(room, event, publish);
      this.#publishers.set(connection, new SessionPublisher({ ...this.#options, limits: this.#options.linkLimits, plainMaxBytes: this.#options.limits.frameMaxBytes, connection, peer: identity, kind, route, inbox: () => undefined, source: () => connection.lane }));
    }
  }

  #refreshing(connection: Connection, identity: Identity): Pick<SessionParts, 'authenticate' | 'become'> {
    const { principals, refresh, router } = this.#options;
    return {
      authenticate: (key) => refresh(identity.caller, key),
      become: (caller) => {
        identity.become(caller);
        principals.set(connection.lane, caller.principal);
        router.invalidate();
      },
    };
  }

  /** Uses a hub link, or lets it stand by: nothing is sent on it and what comes is another hub's to take. */
  setActive(connection: Connection, active: boolean): void {
    const peer = this.hubs.get(connection);
    if (peer === undefined || active === !this.#standby.has(connection)) return;
    if (active) {
      this.#standby.delete(connection);
      this.#options.router.addLink(connection.lane);
      this.#options.readerTrail?.hearsAll({ how: 'link', ...readerOf(peer) });
    } else {
      this.#standby.add(connection);
      this.#options.router.removeLink(connection.lane);
      this.#options.readerTrail?.hearsNothing(connection.lane);
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

  #fromPeer(kind: 'messenger' | 'repeater', principal: Principal, { connection, bytes }: Arrived): void {
    const { limits, counts, router, intake } = this.#options;
    const frame = splitFrame(bytes, 1, limits);
    if (!frame.ok) {
      // Too large closes whoever sends it, as it does when the socket finds it.
      if (kind === 'messenger' || frame.code === 'FRAME_TOO_LARGE') this.#close(connection, frame.code, frame.detail);
      else this.#tell(connection, frame.code, frame.detail);
      return;
    }
    const refusal = intake.refusal(principal, { room: frame.room, bytes, bodyAt: frame.tagEnd + 1 });
    if (refusal !== undefined) {
      this.#noteRefused(refusal.code, { room: frame.room, from: this.messengers.get(connection)?.name });
      this.#tell(connection, refusal.code, refusal.detail);
      return;
    }
    counts.take(kind, bytes.length);
    const event: OutboundEvent = { bytes, roomEnd: frame.roomEnd, tagEnd: frame.tagEnd, fields: '', source: connection.lane, order: 0 };
    const refused = (code: ErrorCode): void => this.#tell(connection, code, frame.room);
    if (kind === 'messenger') router.fromMessenger(frame.room, event, { from: this.messengers.get(connection)?.name, refused });
    else router.fromRepeater(frame.room, event, { refused });
  }

  #fromHub(principal: Principal, { connection, bytes }: Arrived): void {
    const { linkLimits, counts, router, intake } = this.#options;
    if (this.#standby.has(connection)) {
      counts.drop('duplicate', 1);
      return;
    }
    const frame = parseFrame(bytes, connection.version, linkLimits);
    if (!frame.ok) {
      this.#tell(connection, frame.code, frame.detail);
      return;
    }
    const tagEnd = bytes.length - frame.body.length - 1;
    const refusal = intake.refusal(principal, { room: frame.room, bytes, bodyAt: tagEnd + 1 });
    if (refusal !== undefined) {
      this.#noteRefused(refusal.code, { id: frame.fields.id, room: frame.room });
      this.#tell(connection, refusal.code, refusal.detail);
      return;
    }
    counts.take('hub', bytes.length);
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

  #changePlain(connection: Connection, text: string): void {
    const peer = this.messengers.get(connection);
    if (peer !== undefined) this.#plain.change(peer, text);
  }

  /** An event without an id gets one for its trail, which the log of this process tells. */
  #noteRefused(code: ErrorCode, { id = this.#options.router.nextId(), room, from }: { readonly id?: string | undefined; readonly room: string; readonly from?: string | undefined }): void {
    this.#options.readerTrail?.note({ kind: 'refused', id, room, code, from });
    this.#options.log.debug({ id, room, code, from }, 'event refused');
  }

  #messengerClosed(connection: Connection, close: ConnectionClose): void {
    const peer = this.messengers.get(connection);
    const session = this.#sessions.get(connection);
    this.#sessions.delete(connection);
    // Before its subscriptions end: what waited for them is lost.
    this.#options.readerTrail?.left(connection.lane, { droppedEvents: close.droppedEvents, reason: close.cause ?? 'peer-gone' });
    session?.closed();
    if (session === undefined && peer !== undefined) this.#options.durable?.lane.publishers.delete(peer.name);
    if (session === undefined && peer !== undefined) this.#plain.removeAll(peer);
    this.#left('messenger', connection, close);
  }

  #left(kind: PeerKind, connection: Connection, close: ConnectionClose): void {
    const { counts, heartbeat, log } = this.#options;
    const peer = this.#of(kind).get(connection);
    this.#options.readerTrail?.left(connection.lane, { droppedEvents: close.droppedEvents, reason: close.cause ?? 'peer-gone' });
    this.#of(kind).delete(connection);
    this.#options.principals.delete(connection.lane);
    peer?.leave();
    heartbeat.forget(connection);
    counts.closed.add(close.cause ?? `${close.code}`);
    counts.drop(close.cause === undefined ? 'peer-gone' : (CUT_REASONS[close.cause] ?? 'peer-gone'), close.droppedEvents);
    const line = { kind, peer: peer?.id, code: close.code, cause: close.cause, droppedEvents: close.droppedEvents };
    if (close.cause !== undefined && close.cause !== 'DRAINING') log.warn(line, 'peer was closed');
    else log.debug(line, 'peer left');
  }

  /** Its right to be here has ended: what waits for it is not its any more. */
  #end(connection: Connection, code: ErrorCode, retryAfterMs: number | undefined): void {
    const droppedEvents = connection.lane.close();
    this.#options.readerTrail?.left(connection.lane, { droppedEvents, reason: code });
    this.#options.counts.drop('peer-gone', droppedEvents);
    connection.refuse(code, retryAfterMs);
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
    connection.sendText(formatControl(detail === '' ? { op: 'error', code } : { op: 'error', code, detail }));
  }
}
