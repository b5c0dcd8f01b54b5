import { dial, keepConnected, type Connection, type ConnectionEnded, type ConnectionHandler, type Dialled, type DoorOptions } from '@carillon/session';
import type { Logger } from '@carillon/runtime';
import { CarillonError, type ErrorCode } from '@carillon/wire';

import type { Caller, Holders } from '../access/holders.ts';
import { parseLinkAddress } from './link-address.ts';
import type { LinkClaims } from './link-claims.ts';
import type { Peers } from '../sessions/peers.ts';
import type { Router } from '../routing/router.ts';

/**
 * The links that a workspace opens from this hub. One a peer: an address that is linked, or leads to a hub that is linked either way, is
 * refused; two hubs that dial each other in the same moment have two, and event ids see to it that nothing comes twice.
 *
 *   POST ──first dial fails──▶ gone (502)
 *     └──up──▶ linked ──lost──▶ retried for ever ──▶ linked …        DELETE, or the caller's key ended ──▶ gone
 *
 * What its caller may send and receive is what it carries on this side; the other hub has its own say, by the key that is
 * presented to it.
 */

/** How hubs introduce themselves in both directions of the handshake. Original hubs send and read nothing of it. */
export const HUB_ID_HEADER = 'carillon-hub';

export interface LinksOptions {
  readonly hubId: string;
  readonly peers: Peers;
  readonly router: Router;
  readonly holders: Holders;
  readonly door: DoorOptions;
  readonly linksMax: number;
  /** Links of all workspaces of this hub. */
  readonly total: () => number;
  /** Whether whoever holds a link may use it now; a code says why not. */
  readonly recheck: (caller: Caller) => ErrorCode | undefined;
  readonly handshakeTimeoutMs: number;
  readonly retry: { readonly firstMs: number; readonly capMs: number };
  readonly log: Logger;
  /** In a cluster: which hub uses a link that several hold to one original. */
  readonly claims?: LinkClaims;
}

export interface LinkStatus {
  readonly address: string;
  /** `standby`: another hub of the cluster uses its link to the same original. */
  readonly state: 'up' | 'standby' | 'down';
  /** 2 between Carillon hubs, 1 to an original. */
  readonly version: 1 | 2 | undefined;
  readonly hub: string | undefined;
  readonly lastError: string | undefined;
}

/** Who has a link, and the key that it presents to the other hub. */
export interface LinkRights {
  readonly caller: Caller;
  readonly accessKey?: string | undefined;
}

interface Link {
  readonly url: string;
  readonly rights: LinkRights;
  readonly abort: AbortController;
  /** Its caller does not hold it any more. */
  release: () => void;
  connection: Connection | undefined;
  standby: boolean;
  /** Whether it is retried when it is lost: since its first success, or from the start when it is configured. */
  kept: boolean;
  hub: string | undefined;
  lastError: string | undefined;
  /** The loop that keeps it; awaited at stop. */
  loop: Promise<void>;
}

/** The original waits 2 s at first and half as long again after every five tries: 1.5^(1/5) a try. */
const RETRY_FACTOR = 1.5 ** (1 / 5);
const STABLE_MS = 10_000;

export class Links {
  readonly #options: LinksOptions;
  readonly #links = new Map<string, Link>();

  constructor(options: LinksOptions) {
    this.#options = options;
  }

  get up(): number {
    return [...this.#links.values()].filter(({ connection }) => connection !== undefined).length;
  }

  get size(): number {
    return this.#links.size;
  }

  list(): readonly LinkStatus[] {
    return [...this.#links.values()].map(statusOf);
  }

  /**
   * Links with a hub and answers once the link is up.
   * Throws LINK_ADDRESS_INVALID, LINK_EXISTS, LINK_TO_SELF, LINKS_EXCEEDED, LINK_UNREACHABLE.
   */
  async add(address: string, rights: LinkRights): Promise<LinkStatus> {
    const link = this.#register(address, rights);
    const before = new Set(this.#options.peers.hubs.keys());
    const refusal = await new Promise<CarillonError | undefined>((resolve) => {
      this.#keep(link, {
        up: () => resolve(this.#isLinked(link, before) ? new CarillonError('LINK_EXISTS', `${link.url} is hub ${link.hub}`) : undefined),
        down: ({ reason, code }) => resolve(code === 'LINK_TO_SELF' ? new CarillonError('LINK_TO_SELF', link.url) : new CarillonError('LINK_UNREACHABLE', `${link.url}: ${reason}`)),
      });
      void link.loop.then(() => resolve(new CarillonError('LINK_UNREACHABLE', `${link.url}: dropped before it was up`)));
    });
    if (refusal !== undefined) {
      await this.#drop(link);
      throw refusal;
    }
    return statusOf(link);
  }

  /** Links with a hub from configuration: tried for ever, also when it cannot be reached at first. */
  keep(address: string, rights: LinkRights): void {
    const link = this.#register(address, rights);
    link.kept = true;
    this.#recount();
    this.#keep(link, { up: () => undefined, down: () => undefined });
  }

  /** Drops a link of ours. Throws LINK_ADDRESS_INVALID, LINK_NOT_FOUND. */
  async remove(address: string): Promise<void> {
    const parsed = parseLinkAddress(address);
    if (!parsed.ok) throw new CarillonError('LINK_ADDRESS_INVALID', parsed.fault);
    const link = this.#links.get(parsed.url);
    if (link === undefined) throw new CarillonError('LINK_NOT_FOUND', parsed.url);
    await this.#drop(link);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#links.values()].map((link) => this.#drop(link)));
  }

  async #drop(link: Link): Promise<void> {
    if (this.#links.get(link.url) === link) this.#links.delete(link.url);
    this.#recount();
    link.release();
    link.abort.abort();
    await link.loop;
  }

  /** What passes while a kept link is down is counted where it would have gone. */
  #recount(): void {
    this.#options.router.linksDown = [...this.#links.values()].filter(({ kept, connection }) => kept && connection === undefined).length;
  }

  #register(address: string, rights: LinkRights): Link {
    const parsed = parseLinkAddress(address);
    if (!parsed.ok) throw new CarillonError('LINK_ADDRESS_INVALID', parsed.fault);
    if (this.#links.has(parsed.url)) throw new CarillonError('LINK_EXISTS', parsed.url);
    if (this.#options.total() >= this.#options.linksMax) throw new CarillonError('LINKS_EXCEEDED', `at most ${this.#options.linksMax}`);
    const link: Link = {
      url: parsed.url, rights, abort: new AbortController(), release: () => undefined,
      connection: undefined, standby: false, kept: false, hub: undefined, lastError: undefined, loop: Promise.resolve(),
    };
    link.release = this.#options.holders.hold({ caller: rights.caller, end: (code) => this.#end(link, code) });
    this.#links.set(link.url, link);
    return link;
  }

  /** While access is stale the link is down and tried again; a right that has ended takes the link with it. */
  #end(link: Link, code: ErrorCode): void {
    if (code === 'ACCESS_STALE') return;
    this.#options.log.warn({ address: link.url, code }, 'hub link has ended with the right to it');
    void this.#drop(link);
  }

  /**
   * Whether the hub that a link leads to is linked another way: by another link of ours, or by one of theirs that was
   * there `before`. One of theirs that came meanwhile does not count, or two hubs that dial each other would both refuse.
   */
  #isLinked({ hub, connection }: Link, before: ReadonlySet<Connection>): boolean {
    if (hub === undefined) return false;
    const ours = new Set([...this.#links.values()].map((link) => link.connection));
    return [...this.#options.peers.hubs.values()].some((peer) => peer.id === hub && peer.connection !== connection && (before.has(peer.connection) || ours.has(peer.connection)));
  }

  #keep(link: Link, first: { readonly up: () => void; readonly down: (ended: ConnectionEnded) => void }): void {
    const { door, handshakeTimeoutMs, hubId, retry, recheck, log } = this.#options;
    const { caller, accessKey } = link.rights;
    const headers = { [HUB_ID_HEADER]: hubId, ...(accessKey === undefined ? {} : { authorization: `Bearer ${accessKey}` }) };
    link.loop = keepConnected({
      dial: async (handler, signal) => {
        const refused = (code: ErrorCode): Dialled => ({ ok: false, reason: code, code });
        const ended = recheck(caller);
        if (ended !== undefined) return refused(ended);
        const dialled = await dial(link.url, { ...door, handler, handshakeTimeoutMs, signal, offerV2: true, headers });
        // The other hub may have taken its time, and the right to the link may have ended within it.
        const late = dialled.ok ? recheck(caller) : undefined;
        if (late === undefined || !dialled.ok) return dialled;
        dialled.connection.refuse(late);
        return refused(late);
      },
      handler: this.#handler(link),
      backoff: { firstMs: retry.firstMs, capMs: retry.capMs, factor: RETRY_FACTOR, random: Math.random },
      stableMs: STABLE_MS,
      signal: link.abort.signal,
      up: (dialled) => {
        this.#up(link, dialled);
        first.up();
      },
      down: (ended, nextTryMs) => {
        link.lastError = ended.reason;
        log.warn({ address: link.url, why: ended.reason, nextTryMs }, 'hub link is down');
        first.down(ended);
      },
    });
  }

  #up(link: Link, dialled: Extract<Dialled, { ok: true }>): void {
    link.connection = dialled.connection;
    link.kept = true;
    this.#recount();
    link.hub = hubIdOf(dialled);
    link.lastError = undefined;
    this.#options.peers.join('hub', dialled.connection, { caller: link.rights.caller, id: link.hub ?? link.url });
    if (dialled.connection.version === 1) this.#claim(link, dialled.connection);
    this.#options.log.info({ address: link.url, version: dialled.connection.version, hub: link.hub }, 'hub link is up');
  }

  /** Originals put no ids on events: in a cluster only one hub may use a link to one. */
  #claim(link: Link, connection: Connection): void {
    const { claims, peers, log } = this.#options;
    if (claims === undefined) return;
    const setActive = (active: boolean): void => {
      link.standby = !active;
      peers.setActive(connection, active);
      log.info({ address: link.url, active }, active ? 'this hub uses the link' : 'the link stands by');
    };
    setActive(false);
    claims.join({ url: link.url, setActive });
  }

  #handler(link: Link): ConnectionHandler {
    const handler = this.#options.peers.handler('hub', link.rights.caller.principal);
    return {
      ...handler,
      closed: (connection, close) => {
        handler.closed(connection, close);
        if (link.connection !== connection) return;
        link.connection = undefined;
        link.standby = false;
        this.#recount();
        this.#options.claims?.leave(link.url);
      },
    };
  }
}

function statusOf({ url, connection, standby, hub, lastError }: Link): LinkStatus {
  return { address: url, state: connection === undefined ? 'down' : standby ? 'standby' : 'up', version: connection?.version, hub, lastError };
}

function hubIdOf(dialled: Extract<Dialled, { ok: true }>): string | undefined {
  const id = dialled.headers[HUB_ID_HEADER];
  return typeof id === 'string' && /^[0-9A-Za-z_-]{1,64}$/.test(id) ? id : undefined;
}
