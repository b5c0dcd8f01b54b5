import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

import type { Logger } from '@carillon/runtime';
import type { OutboundEvent } from '@carillon/session';

import { FrameQueue, type QueuedFrame } from './frame-queue.ts';
import type { RepeaterCounts } from './metrics.ts';
import { until } from './until.ts';

export interface HttpTargetOptions {
  readonly timeoutMs: number;
  readonly concurrency: number;
  readonly queueMaxBytes: number;
  readonly now: () => number;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
}

/**
 * A target that takes events as JSON by POST. Each target has its own queue, sockets and requests under way, so one
 * that is slow or dead delays nobody else. A request that fails is not repeated (as in the original): it is counted.
 */
export class HttpTarget {
  readonly #url: URL;
  readonly #options: HttpTargetOptions;
  readonly #queue: FrameQueue;
  readonly #agent: HttpAgent;
  readonly #underWay = new Set<AbortController>();
  #stopped = false;
  #failing = false;

  constructor(url: string, options: HttpTargetOptions) {
    this.#url = new URL(url);
    this.#options = options;
    this.#queue = new FrameQueue({ maxBytes: options.queueMaxBytes, now: options.now });
    const Agent = this.#url.protocol === 'https:' ? HttpsAgent : HttpAgent;
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.concurrency });
  }

  get queuedBytes(): number {
    return this.#queue.heldBytes;
  }

  deliver({ bytes, tagEnd }: OutboundEvent): void {
    this.#options.counts.fail('http', 'target-overflow', this.#queue.offer(bytes, tagEnd));
    this.#next();
  }

  async drain(signal: AbortSignal): Promise<void> {
    await until(() => this.#underWay.size === 0 && this.#queue.frames === 0, signal);
  }

  /** Gives up what is under way and what waits; both are counted as failed. */
  async stop(): Promise<void> {
    let waiting = 0;
    while (this.#queue.take() !== undefined) waiting += 1;
    this.#options.counts.fail('http', 'target-failed', waiting);
    this.#stopped = true;
    for (const request of this.#underWay) request.abort();
    await until(() => this.#underWay.size === 0, AbortSignal.timeout(this.#options.timeoutMs));
    this.#agent.destroy();
  }

  #next(): void {
    while (this.#underWay.size < this.#options.concurrency) {
      const frame = this.#queue.take();
      if (frame === undefined) return;
      void this.#deliverOne(frame);
    }
  }

  async #deliverOne(frame: QueuedFrame): Promise<void> {
    const { counts, log } = this.#options;
    const fault = await this.#post(eventBody(frame));
    if (fault === undefined) {
      counts.delivered.add('http');
    } else {
      counts.fail('http', 'target-failed', 1);
      // A dead target is told of once, not once an event.
      log[this.#failing ? 'debug' : 'warn']({ target: this.#url.href, reason: fault }, 'a target did not take an event');
    }
    this.#failing = fault !== undefined;
    this.#next();
  }

  /** Posts a body and says why the target did not take it; anything but 2xx within the limit is a failure, redirects included. */
  async #post(body: Buffer): Promise<string | undefined> {
    const request = new AbortController();
    const limit = setTimeout(() => request.abort(), this.#options.timeoutMs);
    this.#underWay.add(request);
    try {
      const status = await this.#exchange(body, request.signal);
      return status >= 200 && status < 300 ? undefined : `HTTP ${status}`;
    } catch (error) {
      if (request.signal.aborted) return this.#stopped ? 'stopping' : `no whole answer within ${this.#options.timeoutMs} ms`;
      return error instanceof Error ? error.message || error.name : String(error);
    } finally {
      clearTimeout(limit);
      this.#underWay.delete(request);
    }
  }

  #exchange(body: Buffer, signal: AbortSignal): Promise<number> {
    const send = this.#url.protocol === 'https:' ? httpsRequest : httpRequest;
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    return new Promise((resolve, reject) => {
      const outgoing = send(this.#url, { method: 'POST', agent: this.#agent, headers, signal });
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        // The target closed a kept connection just as it was taken again (Node's documentation of reusedSocket): not its answer.
        if (outgoing.reusedSocket && error.code === 'ECONNRESET' && !signal.aborted) resolve(this.#exchange(body, signal));
        else reject(error);
      });
      outgoing.on('response', (response: IncomingMessage) => {
        response.on('end', () => resolve(response.statusCode ?? 0));
        response.on('error', reject);
        response.resume();
      });
      outgoing.end(body);
    });
  }
}

/** JSON's white space (RFC 8259 §2): frames that passed N hops carry N blank lines before their body. */
const WHITE_SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** The event's JSON without the white space around it. */
export function eventBody({ bytes, tagEnd }: Pick<QueuedFrame, 'bytes' | 'tagEnd'>): Buffer {
  let start = tagEnd + 1;
  let end = bytes.length;
  while (start < end && WHITE_SPACE.has(bytes[start] as number)) start += 1;
  while (end > start && WHITE_SPACE.has(bytes[end - 1] as number)) end -= 1;
  return bytes.subarray(start, end);
}
