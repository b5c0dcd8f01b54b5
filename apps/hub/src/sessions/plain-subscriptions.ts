import type { Connection } from '@carillon/session';
import { parseSubscriptionChange, type ErrorCode } from '@carillon/wire';

import { readerOf, type Peer } from './peer.ts';
import type { PeerOptions } from './peers.ts';

/** What messengers of the first protocol are subscribed to: one set of patterns a connection, live and durable rooms alike. */
export interface PlainSubscriptionsOptions extends Pick<PeerOptions, 'durable' | 'limits' | 'readerTrail' | 'subscriptions'> {
  /** A refusal that the connection survives. */
  readonly tell: (connection: Connection, code: ErrorCode, detail: string) => void;
}

export class PlainSubscriptions {
  readonly #options: PlainSubscriptionsOptions;

  constructor(options: PlainSubscriptionsOptions) {
    this.#options = options;
  }

  /** Does what a text frame of the peer says. */
  change(peer: Peer, text: string): void {
    const { limits } = this.#options;
    const parsed = parseSubscriptionChange(text, limits);
    if (!parsed.ok) {
      this.#options.tell(peer.connection, parsed.code, parsed.detail);
      return;
    }
    for (const pattern of parsed.change.rooms) {
      if (!parsed.change.create) this.#remove(peer, pattern);
      else if (!peer.patterns.has(pattern) && !this.#add(peer, pattern)) return;
    }
  }

  /** False when the peer has as many subscriptions as it may, so that the rest of its list is no use either. */
  #add(peer: Peer, pattern: string): boolean {
    const { connection, patterns, identity: { principal } } = peer;
    const { durable, limits, readerTrail, subscriptions } = this.#options;
    if (!principal.permissions.covers('receive', pattern)) {
      this.#options.tell(connection, 'RECEIVE_DENIED', pattern);
      return true;
    }
    const exceeded = patterns.size >= limits.patternsMax ? 'SUBSCRIPTIONS_EXCEEDED' : principal.meter.subscribe();
    if (exceeded !== undefined) {
      this.#options.tell(connection, exceeded, exceeded === 'SUBSCRIPTIONS_EXCEEDED' ? `at most ${limits.patternsMax}` : '');
      return false;
    }
    patterns.add(pattern);
    subscriptions.add(pattern, connection.lane);
    durable?.subscriptions.add(pattern, connection.lane);
    readerTrail?.hears(pattern, { how: 'v1', ...readerOf(peer), session: peer.name });
    return true;
  }

  #remove({ connection, patterns, identity: { principal } }: Peer, pattern: string): void {
    if (!patterns.delete(pattern)) return;
    this.#options.subscriptions.remove(pattern, connection.lane);
    this.#options.durable?.subscriptions.remove(pattern, connection.lane);
    this.#options.readerTrail?.hearsNoMore(pattern, connection.lane);
    principal.meter.unsubscribe(1);
  }

  /** The peer is gone. */
  removeAll(peer: Peer): void {
    for (const pattern of [...peer.patterns]) this.#remove(peer, pattern);
  }
}
