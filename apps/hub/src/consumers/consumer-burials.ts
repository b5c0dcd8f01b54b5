import type { DeadDelivery, EventLog } from '@carillon/log';
import type { Logger } from '@carillon/runtime';

import type { HubCounts } from '../counts.ts';
import { bury, letterId, type DeadLetter } from './dead-letter.ts';
import { decodeHeld } from '../delayed/held-event.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';
import type { Trail } from '../trail/trail.ts';

export interface ConsumerBurialsOptions {
  readonly workspaceId: string;
  readonly log: EventLog;
  readonly counts: HubCounts;
  readonly trail: Trail;
  readonly logger: Logger;
}

/** Makes dead letters of what the consumers of a workspace give up. What could not be kept the log tries again, and until then it is known why. */
export class ConsumerBurials {
  readonly #options: ConsumerBurialsOptions;
  /** By consumer and sequence: no more than what is in flight. */
  readonly #failures = new Map<string, Error>();

  constructor(options: ConsumerBurialsOptions) {
    this.#options = options;
  }

  /** Keeps it, once, whoever of the members is told of it. Rejects with the log's error. */
  async bury(consumer: string, generation: number, { event, attempts, reason }: DeadDelivery): Promise<void> {
    const { log, counts, trail, logger, workspaceId } = this.#options;
    const isCopy = event.workspaceId === SYSTEM_WORKSPACES.returned;
    const held = isCopy ? decodeHeld(event.body) : { ...event, attempts: 0 };
    if (held === undefined) {
      logger.error({ consumer, seq: event.seq }, 'an event that was returned to a consumer cannot be read and is gone');
      return;
    }
    const { room, id, atMs, fields, body, seq } = held;
    const letter: DeadLetter['held'] = { workspaceId, room, id, atMs, fields, body, seq, consumer, attempts: (held.attempts ?? 0) + attempts, reason };
    const key = `${consumer}/${event.seq}`;
    try {
      const isNew = await bury(log, letterId({ workspaceId, consumer, generation, seq: event.seq, storedAtMs: event.storedAtMs }), letter);
      this.#failures.delete(key);
      if (!isNew) return;
      counts.consumers.deadLetters += 1;
      trail.note(workspaceId, { kind: 'attempt', id, room, consumer, attempt: letter.attempts ?? 0, outcome: 'dead', reason });
    } catch (error) {
      this.#failures.set(key, error as Error);
      throw error;
    }
  }

  /** Throws why a delivery that was to be given up is not kept yet. */
  requireBuried(consumer: string, seq: number): void {
    const failure = this.#failures.get(`${consumer}/${seq}`);
    if (failure !== undefined) throw failure;
  }

  /** The consumer is no more. */
  forget(consumer: string): void {
    for (const key of this.#failures.keys()) if (key.startsWith(`${consumer}/`)) this.#failures.delete(key);
  }
}
