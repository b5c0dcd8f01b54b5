import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { createAccessKey } from '@carillon/access';
import { ALL_PERMISSIONS, feedKey, type DeviceEntry, type FeedEntry, type FeedRecord, type KeyEntry, type Permissions, type WorkspaceEntry } from '@carillon/schemas';
import { refuseUpgrade } from '@carillon/session';
import { ERRORS, SUBPROTOCOL_V2, type ErrorCode } from '@carillon/wire';

import { peer, type Peer, type Ws } from './site.fixture.ts';

// A hub as a repeater sees it: a door for repeaters and the access feed, exactly as it goes over the wire.

export interface StubHub {
  readonly port: number;
  readonly url: string;
  /** Repeaters that joined, in order. */
  readonly peers: Peer[];
  /** Requests for the feed that were answered with one, in order. */
  readonly feeds: readonly { readonly url: string; readonly headers: IncomingHttpHeaders; readonly response: ServerResponse }[];
  /** Requests for the feed, refused ones too. */
  readonly asked: () => number;
  /** Puts things into the configuration; open feeds hear of it. */
  put(...entries: FeedEntry[]): void;
  /** Takes things out of it. */
  take(...entries: FeedEntry[]): void;
  /** Refuses joins and feeds with this; undefined takes them. */
  refuse(code: ErrorCode | undefined): void;
  /** Stops beating. */
  silence(): void;
  stop(): Promise<void>;
}

export interface StubHubOptions {
  readonly port?: number;
  readonly entries?: readonly FeedEntry[];
  /** 2: it takes the second protocol when it is offered. 1, the default: it is an original. */
  readonly version?: 1 | 2;
  /** A repeater joined. */
  readonly joined?: (peer: Peer) => void;
}

export async function startStubHub({ WebSocketServer }: Pick<Ws, 'WebSocketServer'>, { port = 0, entries = [], version = 1, joined }: StubHubOptions = {}): Promise<StubHub> {
  const records = new Map<string, FeedRecord>();
  const peers: Peer[] = [];
  const feeds: { url: string; headers: IncomingHttpHeaders; response: ServerResponse }[] = [];
  let seq = 0;
  let asked = 0;
  let refusal: ErrorCode | undefined;
  const say = (event: string, data: object, to = feeds): void => {
    for (const { response } of to) response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  const apply = (entry: FeedEntry, isGone: boolean): void => {
    seq += 1;
    const record: FeedRecord = { seq, entry: isGone ? null : entry };
    records.set(feedKey(entry), record);
    say('record', { key: feedKey(entry), record });
  };
  const server = createServer((request, response) => {
    const isFeed = /^(?:\/k\/[^/]+)?\/access\/feed(?:\?.*)?$/.test(request.url ?? '');
    if (isFeed) asked += 1;
    const code = isFeed ? refusal : 'ROUTE_NOT_FOUND';
    if (code !== undefined) {
      response.writeHead(ERRORS[code].http, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ code }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const feed = { url: request.url ?? '', headers: request.headers, response };
    for (const [key, record] of records) say('record', { key, record }, [feed]);
    say('synced', { seq }, [feed]);
    feeds.push(feed);
  });
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => version === 2 && offered.has(SUBPROTOCOL_V2) ? SUBPROTOCOL_V2 : false });
  server.on('upgrade', (request, socket, head) => {
    if (refusal !== undefined) refuseUpgrade(socket, refusal);
    else sockets.handleUpgrade(request, socket, head, (webSocket) => {
      if (version === 1 && request.headers['sec-websocket-protocol'] !== undefined) return; // it is dialled again without the offer
      const joining = peer(webSocket, request.url ?? '', request.headers);
      peers.push(joining);
      joined?.(joining);
    });
  });
  const beats = setInterval(() => say('beat', { seq }), 1_000).unref();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  for (const entry of entries) apply(entry, false);
  const own = (server.address() as AddressInfo).port;
  return {
    port: own, url: `ws://127.0.0.1:${own}`, peers, feeds, asked: () => asked,
    put: (...changed) => changed.forEach((entry) => apply(entry, false)),
    take: (...gone) => gone.forEach((entry) => apply(entry, true)),
    refuse: (code) => (refusal = code),
    silence: () => clearInterval(beats),
    stop: async () => {
      clearInterval(beats);
      for (const socket of sockets.clients) socket.terminate();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The workspace that everything below belongs to. */
export function workspace(changes: Partial<WorkspaceEntry> = {}): WorkspaceEntry {
  return { type: 'workspace', id: 'w1', workspaceId: 'w1', path: 'itb', anonymousKeyId: null, allowedOrigins: [], validation: 'off', limits: {}, ...changes };
}

export type KeyChanges = Partial<Omit<KeyEntry, 'permissions'>> & { readonly permissions?: Partial<Permissions> };

/** A key that may do everything, unless told otherwise; `secret` is what its holder presents. */
export function issueKey({ permissions, ...changes }: KeyChanges = {}): { readonly secret: string; readonly entry: KeyEntry } {
  const { id, key, hash } = createAccessKey();
  const allowed = permissions === undefined ? ALL_PERMISSIONS : { send: [], receive: [], deny: { send: [], receive: [] }, ...permissions };
  return { secret: key, entry: { type: 'key', id, workspaceId: 'w1', kind: 'messenger', limits: {}, expiresAtMs: null, secrets: [{ hash, expiresAtMs: null }], permissions: allowed, ...changes } };
}

/** A device that the repeater of these tests serves. */
export function device(changes: Partial<DeviceEntry> & Pick<DeviceEntry, 'id' | 'address'>): DeviceEntry {
  return { type: 'device', workspaceId: 'w1', room: 'ITB-1101', name: changes.id, repeater: 'ITB-1101-CP1', enabled: true, ...changes };
}
