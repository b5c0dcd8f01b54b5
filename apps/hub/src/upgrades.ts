import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

import { refuseUpgrade, type Door } from '@carillon/session';
import type { ErrorCode } from '@carillon/wire';

import type { HubCounts } from './counts.ts';
import { HUB_ID_HEADER } from './links.ts';
import type { PeerKind, Peers } from './peers.ts';

/** Who may join, and as what. */
export interface UpgradeOptions {
  readonly hubId: string;
  readonly doors: Readonly<Record<PeerKind, Door>>;
  readonly peers: Peers;
  readonly counts: HubCounts;
  readonly isPageAllowed: (headers: IncomingHttpHeaders) => boolean;
  readonly isDraining: () => boolean;
  /** Whether the hub has as many peers as it takes. */
  readonly isFull: () => boolean;
}

const KINDS: readonly PeerKind[] = ['messenger', 'repeater', 'hub'];
const CONNECT_PATH = /^\/connect\/([^/?]*)\/?(?:\?.*)?$/;

export function answerUpgrade(options: UpgradeOptions, req: IncomingMessage, stream: Duplex, head: Buffer): void {
  const refusal = refusalOf(options, req);
  if (refusal !== undefined) {
    options.counts.refuse(refusal.code);
    refuseUpgrade(stream, refusal.code, refusal.detail);
    return;
  }
  const kind = kindOf(req) as PeerKind;
  options.doors[kind].accept(req, stream, head, {
    handler: options.peers.handler(kind),
    offerV2: kind === 'hub',
    ...(kind === 'hub' ? { headers: { [HUB_ID_HEADER]: options.hubId } } : {}),
    joined: (connection) => options.peers.join(kind, connection, peerHubId(req)),
    refused: (code) => options.counts.refuse(code),
  });
}

function refusalOf(options: UpgradeOptions, req: IncomingMessage): { readonly code: ErrorCode; readonly detail?: string } | undefined {
  if (options.isDraining()) return { code: 'DRAINING' };
  if (options.isFull()) return { code: 'CONNECTIONS_EXCEEDED' };
  if (CONNECT_PATH.exec(req.url ?? '') === null) return { code: 'ROUTE_NOT_FOUND' };
  const kind = kindOf(req);
  if (kind === undefined) return { code: 'CONNECTION_KIND_UNKNOWN' };
  if (!options.isPageAllowed(req.headers)) return { code: 'ORIGIN_REFUSED' };
  if (kind === 'hub' && peerHubId(req) === options.hubId) return { code: 'LINK_TO_SELF' };
  return undefined;
}

function kindOf(req: IncomingMessage): PeerKind | undefined {
  const name = CONNECT_PATH.exec(req.url ?? '')?.[1];
  return KINDS.find((kind) => kind === name);
}

function peerHubId(req: IncomingMessage): string | undefined {
  const id = req.headers[HUB_ID_HEADER];
  return typeof id === 'string' && /^[0-9A-Za-z_-]{1,64}$/.test(id) ? id : undefined;
}
