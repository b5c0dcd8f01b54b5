import { setTimeout as sleep } from 'node:timers/promises';

import type { StreamInfo } from '@nats-io/jetstream';

import { dial, type JetStreamCredentials } from './jetstream-dial.ts';
import { JetStreamLink } from './jetstream-link.ts';
import { openStream, type OpenStream, type StreamMaking } from './jetstream-stream.ts';

/*
 *   nothing ──dial, open──▶ open ──link lost, stream gone──▶ nothing, for a while
 *                           │  ▲
 *                           └──┘ on to another server: this one is stuck, and the other one knows of another leader
 *
 * A server that is parted from the others accepts connections all the same: it knows of no leader, or takes itself for one until it steps
 * down. Where nobody has a leader, as in an election, there is nowhere to go, and what was asked for goes on waiting here.
 */

// Full jitter, also at the cap, so that processes that lost a server together do not come back together.
const BACKOFF_FIRST_MS = 200;
const BACKOFF_CAP_MS = 3_000;
// The longest that the end of a tail may be behind without knowing.
const CHECK_MS = 1_000;
const LOOK_ELSEWHERE_MS = 500;
const ELSEWHERE_TIMEOUT_MS = 2_000;

/** Whose stream is kept open. */
export interface StreamOwner {
  readonly making: StreamMaking;
  /** The leader of the stream as this server last said; undefined or empty: it knows of none. */
  readonly leader: string | undefined;
  /** It gets no answers for longer than they ever take while there is a leader. */
  readonly isStuck: boolean;
  opened(stream: OpenStream): void;
  /** The stream goes on to be the same one, on another server. */
  moved(stream: OpenStream, reason: string): void;
  left(reason: string): void;
  /** One look at the stream; resolves with why it cannot be used any more. */
  check(stream: OpenStream): Promise<string | undefined>;
}

export interface StreamKeeperOptions {
  readonly servers: readonly string[];
  readonly name: string;
  readonly credentials: JetStreamCredentials;
  readonly timeoutMs: number;
  readonly warn: (text: string, fields: Readonly<Record<string, unknown>>) => void;
}

interface Ending {
  readonly reason: string;
  readonly next?: OpenStream;
}

export class StreamKeeper {
  readonly #options: StreamKeeperOptions;
  readonly #owner: StreamOwner;
  #peers: readonly string[] = [];
  #checkNow: (() => void) | undefined;

  constructor(options: StreamKeeperOptions, owner: StreamOwner) {
    this.#options = options;
    this.#owner = owner;
  }

  /** Keeps the stream open until the signal is aborted, then closes what is open. */
  async run(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      let open: OpenStream | undefined;
      try {
        open = await this.#openOn(await this.#dial(this.#urls, signal));
        if (signal.aborted) return;
        attempt = 0;
        this.#owner.opened(open);
        for (;;) {
          const { reason, next } = await this.#served(open, signal);
          if (next === undefined) throw new Error(reason);
          const last = open;
          open = next;
          this.#owner.moved(next, reason);
          await closed(last);
        }
      } catch (error) {
        if (!signal.aborted) this.#owner.left(error instanceof Error ? error.message : String(error));
      } finally {
        if (open !== undefined) await closed(open);
      }
      const ceilingMs = Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10));
      await sleep(Math.random() * ceilingMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Has the stream looked at soon. */
  checkNow(): void {
    this.#checkNow?.();
  }

  /** Those that are configured first, then those that a server told of. */
  get #urls(): readonly string[] {
    const { servers } = this.#options;
    const others = this.#peers.filter((peer) => !servers.some((server) => server.endsWith(peer)));
    return [...shuffled(servers), ...shuffled(others)];
  }

  async #dial(urls: readonly string[], signal: AbortSignal): Promise<JetStreamLink> {
    const { name, credentials, timeoutMs, warn } = this.#options;
    const link = new JetStreamLink(await dial(urls, { name, credentials, signal }), { timeoutMs, warn });
    if (link.peers.length > 0) this.#peers = link.peers;
    return link;
  }

  async #openOn(link: JetStreamLink): Promise<OpenStream> {
    try {
      return await openStream(link, this.#owner.making);
    } catch (error) {
      await link.close().catch(() => undefined);
      throw error;
    }
  }

  /** Resolves when the stream cannot be used here any more, or can be used elsewhere when it cannot be here. */
  async #served(stream: OpenStream, signal: AbortSignal): Promise<Ending> {
    const over = new AbortController();
    try {
      return await Promise.race([this.#lost(stream, over.signal), this.#foundElsewhere(stream, AbortSignal.any([signal, over.signal]))]);
    } finally {
      over.abort();
    }
  }

  async #lost(stream: OpenStream, signal: AbortSignal): Promise<Ending> {
    let ended: string | undefined;
    void stream.link.ended.then((reason) => {
      ended = reason;
      this.#checkNow?.();
    });
    while (!signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, CHECK_MS);
        this.#checkNow = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      const reason = ended ?? (await this.#owner.check(stream)) ?? ended;
      if (reason !== undefined) return { reason };
    }
    return { reason: 'it was left' };
  }

  /** Rejects when the signal is aborted. */
  async #foundElsewhere(stream: OpenStream, signal: AbortSignal): Promise<Ending> {
    for (;;) {
      await sleep(LOOK_ELSEWHERE_MS, undefined, { signal });
      for (const url of this.#owner.isStuck ? this.#urls.filter((other) => !other.endsWith(stream.link.server)) : []) {
        const next = await this.#openAt(url, stream.name, signal).catch(() => undefined);
        if (next === undefined) continue;
        if (!signal.aborted) return { reason: `the server ${stream.link.server} does not follow the leader that others follow`, next };
        await closed(next);
      }
    }
  }

  /** The stream on another server; undefined: that one knows no other leader than ours. */
  async #openAt(url: string, name: string, signal: AbortSignal): Promise<OpenStream | undefined> {
    const link = await this.#dial([url], signal);
    const late = setTimeout(() => void link.close().catch(() => undefined), ELSEWHERE_TIMEOUT_MS);
    try {
      const { cluster } = await link.ask<StreamInfo>(`STREAM.INFO.${name}`);
      const leader = cluster?.leader ?? '';
      if (leader !== '' && leader !== this.#owner.leader) return await this.#openOn(link);
      await link.close();
      return undefined;
    } catch (error) {
      await link.close().catch(() => undefined);
      throw error;
    } finally {
      clearTimeout(late);
    }
  }
}

async function closed({ link }: OpenStream): Promise<void> {
  await link.close().catch(() => undefined);
}

const shuffled = (servers: readonly string[]): readonly string[] =>
  servers.map((server) => ({ server, key: Math.random() })).sort((left, right) => left.key - right.key).map(({ server }) => server);
