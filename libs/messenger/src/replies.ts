import { CarillonError } from '@carillon/wire';
import { abortable, type Settle } from './abort.ts';
import type { Clock } from './clock.ts';
import type { ReceivedEvent } from './received-event.ts';

export interface ReplyWait {
  /** Of the request. */
  readonly id: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Publishes the request; its signal aborts when nobody waits for the reply any more. */
  readonly publish: (signal: AbortSignal) => Promise<unknown>;
}

/** Requests that wait for a reply at a time; each holds a timer. */
export const REPLIES_MAX = 4_096;

/** Requests that were published, or are about to be, and have no reply yet (SPEC.md, "A request"). */
export class Replies {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Settle<ReceivedEvent>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Codes: REQUEST_IN_USE, REQUESTS_EXCEEDED, REPLY_TIMEOUT, ABORTED, what `publish` rejects with. */
  wait({ id, timeoutMs, signal, publish }: ReplyWait): Promise<ReceivedEvent> {
    if (this.#waiting.has(id)) return Promise.reject(new CarillonError('REQUEST_IN_USE', 'a request of this id waits for its reply'));
    if (this.#waiting.size >= REPLIES_MAX) return Promise.reject(new CarillonError('REQUESTS_EXCEEDED', `${REPLIES_MAX} wait for their replies`));
    const sending = new AbortController();
    return abortable<ReceivedEvent>(signal, ({ resolve, reject }) => {
      const end = (): void => {
        stopTimer();
        this.#waiting.delete(id);
        // A request that the hub does not have yet is of no more use.
        sending.abort();
      };
      const settle = {
        resolve: (reply: ReceivedEvent) => {
          end();
          resolve(reply);
        },
        reject: (error: Error) => {
          end();
          reject(error);
        },
      };
      const stopTimer = this.#clock.schedule(() => settle.reject(new CarillonError('REPLY_TIMEOUT', `none within ${timeoutMs} ms`)), timeoutMs);
      this.#waiting.set(id, settle);
      publish(sending.signal).catch((error: unknown) => {
        if (!sending.signal.aborted) settle.reject(error as Error);
      });
      return end;
    });
  }

  /** The first reply to a request counts; of others nobody hears. */
  take(id: string, reply: ReceivedEvent): void {
    this.#waiting.get(id)?.resolve(reply);
  }

  /** Gives up all of them. */
  reject(error: Error): void {
    for (const { reject } of [...this.#waiting.values()]) reject(error);
  }
}
