import type { Principal } from '@carillon/access';
import type { Connection, Lane } from '@carillon/session';

import type { Caller } from '../access/holders.ts';
import type { Identity } from '../access/identity.ts';

/** Whoever is at the other end of a connection, as its kind. */
export interface Peer {
  readonly id: string;
  readonly connection: Connection;
  readonly identity: Identity;
  /** Patterns of a messenger. */
  readonly patterns: Set<string>;
  /** Who publishes, as others see it; of messengers of the first protocol. */
  readonly name: string;
  /** Called once when it is gone. */
  readonly leave: () => void;
}

export interface JoinOptions {
  readonly caller: Caller;
  /** By default the address and a number, as the original has it. */
  readonly id?: string | undefined;
  /** Called once when the peer is gone, with whom it was taken for last. */
  readonly left?: (principal: Principal) => void;
}

export type PeerKind = 'messenger' | 'repeater' | 'hub';

/** As its trail names it. */
export function readerOf({ id, connection, identity }: Peer): { readonly session: string; readonly keyId: string | undefined; readonly lane: Lane } {
  return { session: id, keyId: identity.principal.keyId, lane: connection.lane };
}
