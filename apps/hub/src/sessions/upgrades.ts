import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

import type { Principal } from '@carillon/access';
import { refuseUpgrade, type Door } from '@carillon/session';
import type { KeyKind } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';

import type { Admission } from '../access/admission.ts';
import type { HubCounts } from '../counts.ts';
import type { Caller } from '../access/holders.ts';
import { HUB_ID_HEADER } from '../cluster/links.ts';
import type { PeerKind } from './peer.ts';
import type { Workspaces } from '../workspaces.ts';

/** Who may join, and as what. */
export interface UpgradeOptions {
  readonly hubId: string;
  readonly door: Door;
  readonly workspaces: Workspaces;
  readonly admission: Admission;
  readonly counts: HubCounts;
  readonly isDraining: () => boolean;
  /** Whether the hub has as many peers as it takes. */
  readonly isFull: () => boolean;
}

/** The kinds of keys that open a door; the first is what somebody without a key counts as. */
const KEY_KINDS: Readonly<Record<PeerKind, readonly [KeyKind, ...KeyKind[]]>> = { messenger: ['messenger', 'service'], repeater: ['repeater'], hub: ['hub-link'] };
const KINDS: readonly PeerKind[] = ['messenger', 'repeater', 'hub'];
const CONNECT_PATH = /^\/connect\/([^/?]*)\/?(?:\?.*)?$/;

type Decision =
  | { readonly ok: true; readonly kind: PeerKind; readonly caller: Caller }
  | { readonly ok: false; readonly code: ErrorCode; readonly detail?: string };

export function answerUpgrade(options: UpgradeOptions, req: IncomingMessage, stream: Duplex, head: Buffer): void {
  const decision = decide(options, req);
  if (!decision.ok) {
    options.counts.refuse(decision.code);
    refuseUpgrade(stream, decision.code, decision.detail);
    return;
  }
  const { kind, caller } = decision;
  const { principal } = caller;
  const { peers } = options.workspaces.of(principal.workspaceId);
  let hasJoined = false;
  options.door.accept(req, stream, head, {
    handler: peers.handler(kind, principal),
    offerV2: true,
    ...(kind === 'hub' ? { headers: { [HUB_ID_HEADER]: options.hubId } } : {}),
    joined: (connection) => {
      hasJoined = true;
      peers.join(kind, connection, { caller, id: peerHubId(req), left: disconnect });
    },
    refused: (code) => options.counts.refuse(code),
  });
  // A handshake is over, one way or the other, when accept returns.
  if (!hasJoined) principal.meter.disconnect();
}

/** Nothing of the request, which has all its headers, is kept in memory as long as the connection. */
function disconnect({ meter }: Principal): void {
  meter.disconnect();
}

/** Whoever is let in has been counted as a connection. */
function decide(options: UpgradeOptions, req: IncomingMessage): Decision {
  const { admission } = options;
  if (options.isDraining()) return { ok: false, code: 'DRAINING' };
  if (options.isFull()) return { ok: false, code: 'CONNECTIONS_EXCEEDED' };
  const read = admission.read(req);
  if (!read.ok) return read;
  const path = CONNECT_PATH.exec(read.url);
  if (path === null) return { ok: false, code: 'ROUTE_NOT_FOUND' };
  const kind = KINDS.find((name) => name === path[1]);
  if (kind === undefined) return { ok: false, code: 'CONNECTION_KIND_UNKNOWN' };
  const admitted = admission.admit(req, read.key, KEY_KINDS[kind]);
  if (!admitted.ok) return admitted;
  if (kind === 'hub' && peerHubId(req) === options.hubId) return { ok: false, code: 'LINK_TO_SELF' };
  const full = admitted.caller.principal.meter.connect();
  return full === undefined ? { ok: true, kind, caller: admitted.caller } : { ok: false, code: full };
}

function peerHubId(req: IncomingMessage): string | undefined {
  const id = req.headers[HUB_ID_HEADER];
  return typeof id === 'string' && /^[0-9A-Za-z_-]{1,64}$/.test(id) ? id : undefined;
}
