import type { ServerResponse } from 'node:http';

import { LiveTail, type LaneGroup, type Subscriptions } from '@carillon/session';

import type { HubCounts } from './counts.ts';
import type { Router } from './router.ts';

/** How often an idle tail shows that it lives; proxies close what is silent for a minute. */
const KEEP_ALIVE_MS = 15_000;

export interface LiveTailsOptions {
  readonly subscriptions: Subscriptions;
  readonly router: Router;
  readonly counts: HubCounts;
  readonly group: LaneGroup;
  readonly laneMaxBytes: number;
}

/** The live tails of a hub: subscribers over HTTP. */
export class LiveTails {
  readonly #options: LiveTailsOptions;
  readonly #tails = new Set<LiveTail>();
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(options: LiveTailsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#tails.size;
  }

  /** Streams a valid room or pattern until the response closes. */
  open(pattern: string, response: ServerResponse): void {
    const { subscriptions, router, counts, group, laneMaxBytes } = this.#options;
    const tail = new LiveTail(response, {
      group,
      laneMaxBytes,
      closed: (droppedEvents, cut) => {
        this.#tails.delete(tail);
        router.tails = this.#tails.size;
        subscriptions.remove(pattern, tail.lane);
        counts.closed.add(cut ?? 'tail-closed');
        counts.drop(cut === undefined ? 'peer-gone' : cut === 'MEMORY_PRESSURE' ? 'memory-pressure' : 'peer-slow', droppedEvents);
      },
    });
    this.#tails.add(tail);
    router.tails = this.#tails.size;
    subscriptions.add(pattern, tail.lane);
    this.#timer ??= setInterval(() => this.#look(), KEEP_ALIVE_MS).unref();
  }

  /** Ends every tail with a hint when to come back. */
  drain(comeBackMs: () => number): void {
    clearInterval(this.#timer);
    for (const tail of this.#tails) tail.drain(comeBackMs());
  }

  /** A tail that took nothing since the last look does not read. */
  #look(): void {
    for (const tail of this.#tails) {
      if (tail.lane.isStalled()) tail.lane.cut('PEER_STALLED');
      else tail.keepAlive();
    }
  }
}
