import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { LogClock } from './due-times.ts';
import type { Delivery, EventLog, LogConsumer } from './event-log.ts';
import { openLmdbLog } from './lmdb-log.ts';

const HOUR_MS = 3_600_000;
const ACK_TIMEOUT_MS = 5_000;
const START_MS = Date.UTC(2026, 0, 1);

/** A clock on the wall that can be set, and time that passes only when it is told to. */
class SetClock implements LogClock {
  wallMs = START_MS;
  #elapsedMs = 1_000;
  readonly #timers = new Set<{ readonly atMs: number; readonly run: () => void }>();
  readonly now = (): number => this.wallMs;
  readonly elapsed = (): number => this.#elapsedMs;

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#elapsedMs + delayMs, run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  pass(ms: number): void {
    this.#elapsedMs += ms;
    this.wallMs += ms;
    for (const timer of [...this.#timers]) if (timer.atMs <= this.#elapsedMs && this.#timers.delete(timer)) timer.run();
  }
}

describe('deliveries of an LMDB log whose clock is set', () => {
  let dir: string;
  let clock: SetClock;
  let log: EventLog;
  let consumer: LogConsumer;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'log-clock-'));
    clock = new SetClock();
    log = await openLmdbLog({ dir, log: { warn: () => undefined }, clock });
    consumer = await log.consumer({ workspaceId: 'w', name: 'c', rooms: ['r'], from: 'start', ackTimeoutMs: ACK_TIMEOUT_MS, maxDeliveries: 5, maxInFlight: 10 }, async () => undefined);
  });
  afterEach(async () => {
    await log.close();
    await rm(dir, { recursive: true, force: true });
  });

  const append = (id: string, expiresAtMs?: number): Promise<unknown> => log.append({ workspaceId: 'w', room: 'r', id, atMs: 0, fields: '', body: Buffer.from(id), expiresAtMs });
  const pullOne = async (): Promise<Delivery> => {
    const [delivery] = await consumer.pull(1, AbortSignal.timeout(30_000));
    if (delivery === undefined) throw new Error('nothing came');
    return delivery;
  };

  it('time out when their time has passed, though the clock was set back', async () => {
    await append('one');
    await pullOne();
    clock.wallMs -= HOUR_MS;
    clock.pass(ACK_TIMEOUT_MS);

    expect((await pullOne()).attempt).toBe(2);
  });

  it('do not time out because the clock was set ahead', async () => {
    await append('one');
    const delivery = await pullOne();
    await append('two');
    clock.pass(ACK_TIMEOUT_MS / 2);
    clock.wallMs += HOUR_MS;
    await (await pullOne()).ack();
    clock.pass(ACK_TIMEOUT_MS / 2 - 1);

    await delivery.ack();
    expect(await consumer.info()).toMatchObject({ pending: 0, inFlight: 0 });
  });

  it('come again when their delay has passed, though the clock was set back', async () => {
    await append('one');
    await (await pullOne()).nack({ delayMs: 60_000, reason: 'later' });
    clock.wallMs -= HOUR_MS;
    clock.pass(60_000);

    expect((await pullOne()).attempt).toBe(2);
  });

  it('are not of events that have expired by the clock as it is set', async () => {
    await append('gone', START_MS + HOUR_MS);
    await append('there');
    clock.wallMs += HOUR_MS;

    expect(Buffer.from((await pullOne()).event.body).toString()).toBe('there');
  });
});
