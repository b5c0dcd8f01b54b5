import { LogError, type ConsumerSpec } from './event-log.ts';
import { infoOf, isOfSpec, type DurableInfo } from './jetstream-consumers.ts';
import { stateOf, type OpenStream } from './jetstream-stream.ts';

/*
 * A server that is parted from the others, or has not caught up with them, says "not found" of a consumer that is there:
 *
 *   there ──not found──▶ doubted ──again and again, for long enough──▶ gone      doubted ──found, or no such answer──▶ there
 *   any ──deleted by this process, or not found by a server that is alone──▶ gone
 */
// A leader without a quorum takes itself for one for up to 20 s: nats-server looks every 10 s whether it has had none for 10 s.
const BELIEVED_AFTER_MS = 25_000;
// Who stood still in between has not been told again and again.
const GAP_MAX_MS = 5_000;

/** Tells a consumer that was deleted from one that some server does not know of. */
export class ConsumerAbsence {
  readonly #spec: ConsumerSpec;
  readonly #now: () => number;
  #firstMs: number | undefined;
  #lastMs = 0;
  #isDeleted = false;

  constructor(spec: ConsumerSpec, now: () => number = () => performance.now()) {
    this.#spec = spec;
    this.#now = now;
  }

  /** This process deleted it: "not found" is believed at once. */
  deleted(): void {
    this.#isDeleted = true;
  }

  /** The consumer; undefined: it is gone, or another one has its name. Rejects while that is not certain. */
  async look(stream: OpenStream): Promise<DurableInfo | undefined> {
    try {
      const info = await infoOf(stream, this.#spec);
      if (info !== undefined) {
        this.#firstMs = undefined;
        return isOfSpec(info, this.#spec) ? info : undefined;
      }
      if (this.#isDeleted || !stream.link.isClustered) return undefined;
      if ((await stateOf(stream)).leader === '') throw new LogError('LOG_UNAVAILABLE', 'The stream has no leader at the moment.');
    } catch (error) {
      this.#firstMs = undefined;
      throw error;
    }
    const nowMs = this.#now();
    if (this.#firstMs === undefined || nowMs - this.#lastMs > GAP_MAX_MS) this.#firstMs = nowMs;
    this.#lastMs = nowMs;
    if (nowMs - this.#firstMs >= BELIEVED_AFTER_MS) return undefined;
    throw new LogError('LOG_UNAVAILABLE', `A server does not know the consumer ${this.#spec.name}: it was deleted, or the servers are parted.`);
  }
}

export const unknownConsumer = ({ name }: Pick<ConsumerSpec, 'name'>, cause?: unknown): LogError => new LogError('CONSUMER_UNKNOWN', `There is no consumer ${name}.`, { cause });
