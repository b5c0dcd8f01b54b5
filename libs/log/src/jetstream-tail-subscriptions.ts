import type { Msg, Subscription } from '@nats-io/transport-node';

import type { JetStreamLink } from './jetstream-link.ts';
import { covers, filterOf } from './jetstream-subjects.ts';

export interface TailSubscriptionsOptions {
  readonly workspaceId: string;
  readonly hear: (message: Msg) => void;
  readonly warn: (text: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** What a tail listens to: a subject for each pattern, unless another one covers it, so that nothing is heard twice. */
export class TailSubscriptions {
  readonly #options: TailSubscriptionsOptions;
  readonly #subscriptions = new Map<string, Subscription>();

  constructor(options: TailSubscriptionsOptions) {
    this.#options = options;
  }

  /** Listens to these patterns too; what it listens to already goes on. */
  add(link: JetStreamLink, patterns: readonly string[]): void {
    const { workspaceId, hear, warn } = this.#options;
    try {
      for (const subject of this.#needed(patterns)) {
        if (!this.#subscriptions.has(subject)) this.#subscriptions.set(subject, link.subscribe(subject, hear));
      }
    } catch (error) {
      // The link is lost: the next one begins with all of them.
      warn('A tail of the log could not listen', { workspaceId, reason: error instanceof Error ? error.message : String(error) });
    }
  }

  /** Listens to these patterns and no others. */
  only(link: JetStreamLink, patterns: readonly string[]): void {
    this.add(link, patterns);
    const needed = this.#needed(patterns);
    for (const subject of [...this.#subscriptions.keys()]) if (!needed.has(subject)) this.#drop(subject);
  }

  clear(): void {
    for (const subject of [...this.#subscriptions.keys()]) this.#drop(subject);
  }

  #drop(subject: string): void {
    const subscription = this.#subscriptions.get(subject);
    this.#subscriptions.delete(subject);
    if (subscription?.isClosed() === false) subscription.unsubscribe();
  }

  #needed(patterns: readonly string[]): ReadonlySet<string> {
    const subjects = new Set(patterns.map((pattern) => filterOf('tail', this.#options.workspaceId, pattern)));
    return new Set([...subjects].filter((subject) => ![...subjects].some((other) => other !== subject && covers(other, subject))));
  }
}
