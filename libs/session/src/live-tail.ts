import type { ServerResponse } from 'node:http';

import { ERRORS } from '@carillon/wire';

import { SSE, type Codec } from './codec.ts';
import { Lane, type LaneCut, type LaneGroup } from './lane.ts';

/**
 * A live tail is a subscriber over HTTP: server-sent events, one lane, the same bounds as a WebSocket. A tail that is
 * cut gets a last `error` event with the code (when its lane still takes bytes) and the end of the response.
 */
export interface LiveTailOptions {
  readonly group: LaneGroup;
  readonly laneMaxBytes: number;
  /** How events look; default: `SSE`. */
  readonly codec?: Codec;
  /** When a tail that is cut is to come back; default: nothing is said of it. */
  readonly retryMs?: () => number;
  readonly closed: (droppedEvents: number, cut: LaneCut | undefined) => void;
}

const COMMENT = Buffer.from(': keep-alive\n\n');

export class LiveTail {
  readonly lane: Lane;
  readonly #response: ServerResponse;
  readonly #options: LiveTailOptions;
  #ended = false;

  constructor(response: ServerResponse, options: LiveTailOptions) {
    this.#response = response;
    this.#options = options;
    this.lane = new Lane(response, { codec: options.codec ?? SSE, owner: this, group: options.group, maxBytes: options.laneMaxBytes });
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
    response.write(': connected\n\n');
    response.on('error', () => this.#end(0, undefined));
    response.on('close', () => this.#end(0, undefined));
  }

  /** Shows proxies and dead peers that the tail lives. */
  keepAlive(): void {
    if (!this.lane.closed && this.lane.queuedBytes === 0) this.#response.write(COMMENT);
  }

  laneCut(cut: LaneCut, droppedEvents: number): void {
    this.#end(droppedEvents, cut);
    this.#destroyLater();
    const retryMs = this.#options.retryMs?.();
    if (!this.#response.writableEnded) this.#response.end(`${retryMs === undefined ? '' : `retry: ${Math.round(retryMs)}\n`}event: error\ndata: ${JSON.stringify({ code: cut, title: ERRORS[cut].title })}\n\n`);
  }

  /** Ends the tail because the server stops, after what the lane holds; `retryAfterMs` is when the client reconnects. */
  drain(retryAfterMs: number): void {
    if (this.lane.closed) return;
    this.#destroyLater();
    this.lane.end(() => this.#response.end(`retry: ${Math.round(retryAfterMs)}\nevent: drain\ndata: {"code":"DRAINING"}\n\n`));
  }

  /** What the peer has not taken by then it never will. */
  #destroyLater(): void {
    setTimeout(() => this.#response.destroy(), 2_000).unref();
  }

  #end(droppedEvents: number, cut: LaneCut | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.closed(droppedEvents + this.lane.close(), cut);
  }
}
