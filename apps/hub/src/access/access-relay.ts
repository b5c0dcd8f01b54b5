import type { ServerResponse } from 'node:http';

import type { AccessCopy } from '@carillon/access';
import type { FeedRecord } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';

import type { HubCounts } from '../counts.ts';
import type { Caller, Holders } from './holders.ts';
import { endResponse } from '../durable/live-tails.ts';

/**
 * The access feed for repeaters, as server-sent events: the records of their workspace, `synced`, then every change, and
 * a beat each second. Keys of other hubs and of the management API are not a repeater's business.
 */
export interface AccessRelayOptions {
  readonly copy: AccessCopy;
  readonly holders: Holders;
  readonly counts: HubCounts;
  /** What may wait for one reader; one that is further behind is cut. */
  readonly waitingMaxBytes: number;
  /** How long a reader may take nothing of what waits. */
  readonly writeTimeoutMs: number;
}

interface Reader {
  readonly response: ServerResponse;
  readonly caller: Caller;
  isSynced: boolean;
  /** Beats since it took anything of what waits. */
  stalledBeats: number;
  waitingBytes: number;
  /** How it ended, for the count. */
  cause: string;
}

const RELAYED_KINDS: ReadonlySet<string> = new Set(['messenger', 'repeater', 'service']);
const BEAT_MS = 1_000;
/** As much as a socket takes at once; the rest of the first records waits for it. */
const SINK_MAX_BYTES = 65_536;

export class AccessRelay {
  readonly #options: AccessRelayOptions;
  readonly #readers = new Set<Reader>();
  readonly #stop: () => void;

  constructor(options: AccessRelayOptions) {
    this.#options = options;
    this.#stop = options.copy.onRecord((key, record) => this.#changed(key, record));
  }

  get size(): number {
    return this.#readers.size;
  }

  /** Streams the feed until the response closes or the caller's right to it ends, or answers why not: CONNECTION_LIMIT_REACHED. */
  open(response: ServerResponse, caller: Caller): ErrorCode | undefined {
    const { holders, counts } = this.#options;
    if (this.#hasEnough(caller)) return 'CONNECTION_LIMIT_REACHED';
    const reader: Reader = { response, caller, isSynced: false, stalledBeats: 0, waitingBytes: 0, cause: 'feed-closed' };
    const release = holders.hold({
      caller,
      end: (code, retryAfterMs) => {
        reader.cause = code;
        this.#readers.delete(reader);
        endResponse(response, code, retryAfterMs);
      },
    });
    this.#readers.add(reader);
    response.on('error', () => response.destroy());
    response.once('close', () => {
      this.#readers.delete(reader);
      release();
      counts.closed.add(reader.cause);
    });
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
    response.flushHeaders();
    void this.#begin(reader);
    return undefined;
  }

  /** Whether a key, or its workspace, reads as many feeds as it may have connections. They are counted apart: a repeater has one of each. */
  #hasEnough({ principal }: Caller): boolean {
    const { workspaceId, limits } = principal;
    const ofWorkspace = [...this.#readers].filter(({ caller }) => caller.principal.workspaceId === workspaceId);
    const own = ofWorkspace.filter(({ caller }) => caller.principal === principal);
    return own.length >= (limits.connections ?? Infinity) || ofWorkspace.length >= (this.#options.copy.workspace(workspaceId)?.limits.connections ?? Infinity);
  }

  /** One second has passed. */
  beat(): void {
    const { copy, writeTimeoutMs } = this.#options;
    for (const reader of this.#readers) {
      const waiting = reader.response.writableLength;
      reader.stalledBeats = waiting > 0 && waiting >= reader.waitingBytes ? reader.stalledBeats + 1 : 0;
      reader.waitingBytes = waiting;
      if (reader.stalledBeats * BEAT_MS > writeTimeoutMs) this.#cut(reader);
      else if (reader.isSynced) this.#write(reader, 'beat', { seq: copy.seq });
    }
  }

  /** Ends every stream with a hint when to come back. */
  drain(comeBackMs: () => number): void {
    this.#stop();
    for (const { response } of this.#readers) endResponse(response, 'DRAINING', comeBackMs());
    this.#readers.clear();
  }

  /** What is applied while the first records are on their way goes out beside them: the highest `seq` of a thing counts. */
  async #begin(reader: Reader): Promise<void> {
    const { copy } = this.#options;
    const { response, caller } = reader;
    for (const [key, record] of [...copy.records(caller.principal.workspaceId)]) {
      if (!isRelayed(record)) continue;
      if (!this.#readers.has(reader)) return;
      this.#write(reader, 'record', { key, record });
      if (response.writableLength > SINK_MAX_BYTES) await drained(response);
    }
    if (!this.#readers.has(reader)) return;
    reader.isSynced = true;
    this.#write(reader, 'synced', { seq: copy.seq });
  }

  #changed(key: string, record: FeedRecord): void {
    if (!isRelayed(record)) return;
    for (const reader of this.#readers) if (key.startsWith(`${reader.caller.principal.workspaceId}.`)) this.#write(reader, 'record', { key, record });
  }

  #write(reader: Reader, event: 'record' | 'synced' | 'beat', data: unknown): void {
    const { response } = reader;
    if (response.writableEnded || response.destroyed) return;
    response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    if (response.writableLength > this.#options.waitingMaxBytes) this.#cut(reader);
  }

  #cut(reader: Reader): void {
    reader.cause = 'PEER_SLOW';
    this.#readers.delete(reader);
    reader.response.destroy();
  }
}

/** Resolves when a response takes more, or never will. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

/** What is gone is told whatever it was: it may have been relayed at another time. */
function isRelayed({ entry }: FeedRecord): boolean {
  return entry?.type !== 'key' || RELAYED_KINDS.has(entry.kind);
}
