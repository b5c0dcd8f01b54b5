import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Logger } from '@carillon/runtime';
import { readProblemCode } from '@carillon/session';
import { backoffMs, type BackoffOptions } from '@carillon/wire';

import type { FeedRecords } from './feed-records.ts';
import { SseReader } from './sse-reader.ts';

/**
 * Keeps the hub's access feed open, for ever:
 *
 *   asking ──200──▶ reading ──ended, silent, unreadable──▶ waiting ──backoff──▶ asking
 *      └──failed, refused────────────────────────────────────▲
 *
 * The feed gives every record of the workspace, then `synced`, then what changes; and a `beat` a second, so that a feed
 * that says nothing is known to be dead. Nothing waits for it: a repeater decides by its copy.
 */
export interface FeedClientOptions {
  /** Of the feed, http or https; its path and query may carry a key. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly records: FeedRecords;
  readonly backoff: BackoffOptions;
  readonly log: Logger;
}

/** Beats come every second; a feed that is silent for so long is given up. */
const SILENCE_MAX_MS = 5_000;
/** The largest record: four lists of 500 rules, each with two patterns of 256 characters that JSON may write with twice as many. */
const LINE_MAX_BYTES = 4_194_304;
/** A feed that held this long was a good one: its loss is tried again at once. */
const STABLE_MS = 10_000;

interface Ended {
  readonly reason: string;
  /** The hub answered, and not with a feed: asking again soon changes nothing. */
  readonly isRefusal: boolean;
}

export class FeedClient {
  readonly #options: FeedClientOptions;
  readonly #stopping = new AbortController();
  #kept: Promise<void> | undefined = undefined;
  #isSynced = false;

  constructor(options: FeedClientOptions) {
    this.#options = options;
  }

  /** Whether the feed is open and the copy was up to date with it. */
  get connected(): boolean {
    return this.#isSynced;
  }

  start(): void {
    this.#kept ??= this.#keep();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#kept;
  }

  async #keep(): Promise<void> {
    const { backoff, log, url } = this.#options;
    const { signal } = this.#stopping;
    let attempt = 0;
    let told = '';
    while (!signal.aborted) {
      const startedAtMs = performance.now();
      let wasSynced = false;
      const { isRefusal, reason } = await this.#read(() => (wasSynced = true));
      if (signal.aborted) return;
      if (wasSynced && performance.now() - startedAtMs >= STABLE_MS) {
        attempt = 0;
        told = '';
      }
      const waitMs = backoffMs(attempt, isRefusal ? { ...backoff, firstMs: backoff.capMs } : backoff);
      attempt += 1;
      log[reason === told ? 'debug' : 'warn']({ feed: url, reason, nextTryMs: waitMs }, 'the access feed is away; the copy goes on');
      told = reason;
      await sleep(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** Reads the feed until it ends, and says why it did. */
  #read(synced: () => void): Promise<Ended> {
    const { headers, url } = this.#options;
    const { signal } = this.#stopping;
    const send = url.startsWith('https:') ? httpsRequest : httpRequest;
    return new Promise((resolve) => {
      const outgoing = send(url, { headers: { accept: 'text/event-stream', ...headers }, agent: false });
      let ended = false;
      const end = (reason: string, isRefusal = false): void => {
        if (ended) return;
        ended = true;
        clearTimeout(silence);
        signal.removeEventListener('abort', stop);
        this.#isSynced = false;
        outgoing.destroy();
        resolve({ reason, isRefusal });
      };
      const stop = (): void => end('stopping');
      const silence = setTimeout(() => end(`nothing was heard for ${SILENCE_MAX_MS} ms`), SILENCE_MAX_MS);
      signal.addEventListener('abort', stop, { once: true });
      outgoing.on('error', (error) => end(error.message));
      outgoing.on('response', (response) => {
        response.on('error', (error) => end(error.message));
        if (response.statusCode !== 200 || response.headers['content-type']?.startsWith('text/event-stream') !== true) {
          void readProblemCode(response).then((code) => end(`HTTP ${response.statusCode ?? 0}${code === undefined ? '' : ` ${code}`}`, (response.statusCode ?? 0) < 500));
          return;
        }
        const reader = new SseReader({
          maxBytes: LINE_MAX_BYTES,
          event: (name, data) => {
            const taken = this.#take(name, data, synced);
            if (taken === 'anew') end('the configuration has begun anew');
            else if (taken) silence.refresh();
          },
        });
        response.on('data', (chunk: Buffer) => {
          if (!reader.push(chunk)) end(`a line of more than ${LINE_MAX_BYTES} bytes`);
        });
        response.on('end', () => end('the hub ended it'));
      });
      outgoing.end();
    });
  }

  /** Takes an event of the feed; false when it is none, `anew` when the feed must be read from its beginning. */
  #take(name: string, data: string, synced: () => void): boolean | 'anew' {
    if (name === 'record') {
      if (this.#options.records.take(data) === 'anew') return 'anew';
    } else if (name === 'synced') {
      this.#isSynced = true;
      synced();
      this.#options.log.info({ feed: this.#options.url, workspace: this.#options.records.workspaceId }, 'the copy of the access configuration is up to date');
    } else if (name !== 'beat') {
      return false;
    }
    return true;
  }
}
