import { eventually } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

import type { ConsumerSpec, DeadDelivery, Delivery, EventLog, LogConsumer } from './event-log.ts';
import { anEvent, appendAll, bytes, numbered, text, WORKSPACE } from './log-world.conformance.ts';

const SPEC: ConsumerSpec = { workspaceId: WORKSPACE, name: 'billing', rooms: ['a', 'b-*'], from: 'start', ackTimeoutMs: 60_000, maxDeliveries: 5, maxInFlight: 100 };
// Long enough that an ack of a test that is not about it comes in time, short enough to be waited for.
const SHORT_ACK_TIMEOUT_MS = 2_000;
// A bound for what does come: a busy machine is slow and not wrong.
const PULL_TIMEOUT_MS = 30_000;
const withCode = (...codes: string[]): unknown => expect.objectContaining({ name: 'LogError', code: expect.stringMatching(new RegExp(`^(${codes.join('|')})$`)) as unknown });
const nobodyDies = async (dead: DeadDelivery): Promise<void> => {
  throw new Error(`unexpectedly dead: ${text(dead.event)} (${dead.reason})`);
};

/** The part of the suite about durable consumers. */
export function describeConsumers({ log, reopen }: { readonly log: () => EventLog; readonly reopen: () => Promise<void> }): void {
  const join = (given: Partial<ConsumerSpec> = {}, dead = nobodyDies): Promise<LogConsumer> => log().consumer({ ...SPEC, ...given }, dead);
  /** Pulls until there are so many deliveries. */
  const pull = async (consumer: LogConsumer, count: number): Promise<Delivery[]> => {
    const deliveries: Delivery[] = [];
    while (deliveries.length < count) {
      const more = await consumer.pull(count - deliveries.length, AbortSignal.timeout(PULL_TIMEOUT_MS));
      if (more.length === 0) throw new Error(`${deliveries.length} deliveries came, not ${count}`);
      deliveries.push(...more);
    }
    return deliveries;
  };
  const pullNothing = async (consumer: LogConsumer): Promise<void> => {
    const stop = new AbortController();
    const pulling = consumer.pull(10, stop.signal);
    await appendAll(log(), 'elsewhere', numbered(20));
    await consumer.info();
    stop.abort();
    expect((await pulling).map((delivery) => text(delivery.event))).toEqual([]);
  };
  const ackAll = (deliveries: readonly Delivery[]): Promise<unknown> => Promise.all(deliveries.map((delivery) => delivery.ack()));
  const bodies = (deliveries: readonly Delivery[]): string[] => deliveries.map(({ event }) => text(event));

  describe('consumer', () => {
    it('is owed the events of its rooms in order, before and after it joined', async () => {
      await appendAll(log(), 'a', ['0']);
      await appendAll(log(), 'c', ['x']);
      await appendAll(log(), 'b-1', ['1']);
      const consumer = await join();
      await appendAll(log(), 'b-2', ['2']);
      await appendAll(log(), 'a', ['other workspace'], 'ws-2');
      await appendAll(log(), 'a', ['3']);
      const deliveries = await pull(consumer, 4);

      expect(bodies(deliveries)).toEqual(['0', '1', '2', '3']);
      expect(deliveries.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1]);
      await ackAll(deliveries);
      await pullNothing(consumer);
      expect(await consumer.info()).toMatchObject({ pending: 0, inFlight: 0 });
      expect((await consumer.info()).settledSeq).toBeGreaterThanOrEqual(deliveries.at(-1)?.event.seq ?? 0);
      await consumer.close();
    });

    it('begins where it is told to', async () => {
      const seqs = await appendAll(log(), 'a', numbered(3));
      const now = await join({ name: 'now', from: 'now' });
      const since = await join({ name: 'since', from: { seq: seqs[0] ?? 0 } });
      await join({ name: 'future', from: { atMs: Date.now() + 3_600_000 } });
      const past = await join({ name: 'past', from: { atMs: 0 } });
      await appendAll(log(), 'a', ['3']);

      expect(bodies(await pull(now, 1))).toEqual(['3']);
      expect(bodies(await pull(since, 3))).toEqual(['1', '2', '3']);
      expect(bodies(await pull(past, 4))).toEqual(['0', '1', '2', '3']);
      await Promise.all([now, since, past].map((consumer) => consumer.close()));
    });

    it('waits for an event, and gives up when it is told to', async () => {
      const consumer = await join();
      const waiting = consumer.pull(10, AbortSignal.timeout(PULL_TIMEOUT_MS));
      await appendAll(log(), 'a', ['0']);
      expect(bodies(await waiting)).toEqual(['0']);
      await pullNothing(consumer);
      expect(await consumer.pull(10, AbortSignal.abort())).toEqual([]);
      await consumer.close();
    });

    it('keeps what was acked, and owes the rest to who comes next', async () => {
      await appendAll(log(), 'a', numbered(10));
      const deliveries = await pull(await join(), 6);
      await ackAll([0, 1, 2, 4].flatMap((index) => deliveries[index] ?? []));
      await reopen();
      const again = await pull(await join(), 6);

      expect(bodies(again).sort()).toEqual(['3', '5', '6', '7', '8', '9']);
      const attempts = Object.fromEntries(again.map((delivery) => [text(delivery.event), delivery.attempt]));
      expect(attempts).toEqual({ 3: 2, 5: 2, 6: 1, 7: 1, 8: 1, 9: 1 });
      await ackAll(again);
      await reopen();
      const last = await join();
      await pullNothing(last);
      await last.close();
    });

    it('gives an event again after a nack, not before its delay', async () => {
      await appendAll(log(), 'a', ['0', '1']);
      const consumer = await join();
      const [first, second] = await pull(consumer, 2);
      const startedMs = performance.now();
      await first?.nack({ delayMs: 500, reason: 'later' });
      await second?.nack({ delayMs: 0, reason: 'now' });
      const [soon] = await pull(consumer, 1);
      const [late] = await pull(consumer, 1);

      expect([soon, late].map((delivery) => [delivery && text(delivery.event), delivery?.attempt])).toEqual([['1', 2], ['0', 2]]);
      expect(performance.now() - startedMs).toBeGreaterThan(450);
      await ackAll([soon, late].flatMap((delivery) => delivery ?? []));
      await consumer.close();
    });

    it('gives an event again when it is not settled in time', async () => {
      await appendAll(log(), 'a', ['0']);
      const consumer = await join({ ackTimeoutMs: SHORT_ACK_TIMEOUT_MS });
      const startedMs = performance.now();
      const [lost] = await pull(consumer, 1);
      const [again] = await pull(consumer, 1);

      expect(performance.now() - startedMs).toBeGreaterThan(SHORT_ACK_TIMEOUT_MS * 0.9);
      expect([again && text(again.event), again?.attempt]).toEqual(['0', 2]);
      await expect(lost?.ack()).rejects.toEqual(withCode('DELIVERY_UNKNOWN'));
      await again?.ack();
      await expect(again?.ack()).rejects.toEqual(withCode('DELIVERY_UNKNOWN'));
      await expect(again?.nack({ delayMs: 0, reason: 'x' })).rejects.toEqual(withCode('DELIVERY_UNKNOWN'));
      await expect(again?.discard('x')).rejects.toEqual(withCode('DELIVERY_UNKNOWN'));
      await consumer.close();
    });

    it('gives an event up after its last attempt, or at once when told to', async () => {
      await appendAll(log(), 'a', ['0', '1', '2']);
      const dead: DeadDelivery[] = [];
      const consumer = await join({ maxDeliveries: 2 }, async (delivery) => void dead.push(delivery));
      const [first, second, third] = await pull(consumer, 3);
      await first?.nack({ delayMs: 0, reason: 'refused once' });
      await second?.discard('unreadable');
      await third?.ack();
      const [again] = await pull(consumer, 1);
      await again?.nack({ delayMs: 0, reason: 'refused twice' });
      await eventually(() => dead.length === 2);

      expect(dead.map(({ event, attempts, reason }) => [text(event), attempts, reason]).sort()).toEqual([['0', 2, 'refused twice'], ['1', 1, 'unreadable']]);
      await pullNothing(consumer);
      expect(await consumer.info()).toMatchObject({ pending: 0, inFlight: 0 });
      await reopen();
      const next = await join({ maxDeliveries: 2 });
      await pullNothing(next);
      await next.close();
    });

    it('gives an event up that timed out at its last attempt', async () => {
      await appendAll(log(), 'a', ['0']);
      const dead: DeadDelivery[] = [];
      const consumer = await join({ maxDeliveries: 1, ackTimeoutMs: SHORT_ACK_TIMEOUT_MS }, async (delivery) => void dead.push(delivery));
      await pull(consumer, 1);
      await eventually(() => dead.length === 1);

      expect(dead.map(({ event, attempts }) => [text(event), attempts])).toEqual([['0', 1]]);
      expect(dead[0]?.reason).not.toBe('');
      await consumer.close();
    });

    it('tries again to give up what could not be given up', async () => {
      await appendAll(log(), 'a', ['0']);
      let tries = 0;
      const consumer = await join({ ackTimeoutMs: SHORT_ACK_TIMEOUT_MS }, async () => {
        tries += 1;
        if (tries === 1) throw new Error('the dead letters are away');
      });
      const [delivery] = await pull(consumer, 1);
      await delivery?.discard('unreadable').catch(() => undefined);
      await eventually(() => tries === 2);
      await eventually(async () => (await consumer.info()).inFlight === 0);
      await pullNothing(consumer);

      expect(tries).toBe(2);
      await consumer.close();
    });

    it('gives each event to one of its members', async () => {
      const members = await Promise.all([join(), join(), join()]);
      const sent = numbered(300);
      const got: string[][] = [[], [], []];
      const stop = new AbortController();
      const working = members.map(async (member, index) => {
        while (!stop.signal.aborted) {
          for (const delivery of await member.pull(5, stop.signal)) {
            got[index]?.push(text(delivery.event));
            await delivery.ack();
          }
        }
      });
      await appendAll(log(), 'a', sent);
      await eventually(() => got.flat().length >= sent.length);
      stop.abort();
      await Promise.all(working);

      expect(got.flat().sort()).toEqual([...sent].sort());
      expect(got.filter((part) => part.length > 0).length).toBeGreaterThan(1);
      await Promise.all(members.map((member) => member.close()));
    });

    it('owes what a leaving member has to the others at once', async () => {
      await appendAll(log(), 'a', numbered(4));
      const [leaving, staying] = await Promise.all([join(), join()]);
      const [acked, ...held] = await pull(leaving, 4);
      await acked?.ack();
      const waiting = pull(staying, 3);
      await leaving.close();
      const rest = await waiting;

      expect(bodies(rest).sort()).toEqual(['1', '2', '3']);
      expect(rest.map(({ attempt }) => attempt)).toEqual([2, 2, 2]);
      await expect(held[0]?.ack()).rejects.toEqual(withCode('DELIVERY_UNKNOWN'));
      await expect(leaving.pull(1, AbortSignal.timeout(PULL_TIMEOUT_MS))).rejects.toEqual(withCode('LOG_CLOSED'));
      await ackAll(rest);
      await staying.close();
    });

    it('goes on with who joins while the last one leaves', async () => {
      const leaving = await join();
      const left = leaving.close();
      const staying = await join();
      await left;
      const waiting = pull(staying, 1);
      await appendAll(log(), 'a', ['0']);

      expect(bodies(await waiting)).toEqual(['0']);
      await staying.close();
    });

    it('hands out no more than may be unsettled', async () => {
      await appendAll(log(), 'a', numbered(10));
      const [one, other] = await Promise.all([join({ maxInFlight: 3 }), join({ maxInFlight: 3 })]);
      const first = await pull(one, 3);
      await pullNothing(other);
      expect(await one.info()).toMatchObject({ inFlight: 3, pending: 7 });
      await first[1]?.ack();
      expect(bodies(await pull(other, 1))).toEqual(['3']);
      await pullNothing(other);
      await Promise.all([one.close(), other.close()]);
    });

    it('settles in any order, and tells up to where all is settled', async () => {
      const seqs = await appendAll(log(), 'a', numbered(3));
      const consumer = await join();
      const [first, second, third] = await pull(consumer, 3);
      await ackAll([third, second].flatMap((delivery) => delivery ?? []));
      const before = await consumer.info();
      await first?.ack();

      expect(before.settledSeq).toBeLessThan(seqs[0] ?? 0);
      expect(before.inFlight).toBe(1);
      expect((await consumer.info()).settledSeq).toBeGreaterThanOrEqual(seqs[2] ?? 0);
      await consumer.close();
    });

    it('is one per name and workspace, with one set of settings', async () => {
      const consumer = await join();
      await expect(join({ maxInFlight: 1 })).rejects.toEqual(withCode('CONSUMER_EXISTS'));
      await expect(join({ rooms: ['a'] })).rejects.toEqual(withCode('CONSUMER_EXISTS'));
      const other = await join({ workspaceId: 'ws-2', maxInFlight: 1 });
      await consumer.close();
      await reopen();

      expect((await log().consumers(WORKSPACE)).map(({ name, rooms, maxInFlight }) => ({ name, rooms, maxInFlight }))).toEqual([{ name: SPEC.name, rooms: SPEC.rooms, maxInFlight: SPEC.maxInFlight }]);
      expect((await log().consumers('ws-2')).map(({ maxInFlight }) => maxInFlight)).toEqual([1]);
      expect(other.spec.workspaceId).toBe('ws-2');
      await expect(join({ ackTimeoutMs: 1_234 })).rejects.toEqual(withCode('CONSUMER_EXISTS'));
      await (await join()).close();
    });

    it('is gone once it is deleted, and made anew by the next who joins', async () => {
      await appendAll(log(), 'a', numbered(3));
      const consumer = await join();
      const [delivery] = await pull(consumer, 2);
      const waiting = consumer.pull(10, AbortSignal.timeout(PULL_TIMEOUT_MS));
      await waiting;
      await log().deleteConsumer(WORKSPACE, SPEC.name);

      expect(await log().consumers(WORKSPACE)).toEqual([]);
      await expect(delivery?.ack()).rejects.toEqual(withCode('DELIVERY_UNKNOWN', 'CONSUMER_UNKNOWN'));
      await expect(consumer.pull(1, AbortSignal.timeout(PULL_TIMEOUT_MS))).rejects.toEqual(withCode('CONSUMER_UNKNOWN'));
      await expect(log().deleteConsumer(WORKSPACE, SPEC.name)).rejects.toEqual(withCode('CONSUMER_UNKNOWN'));
      const anew = await join({ maxInFlight: 7 });
      const deliveries = await pull(anew, 3);
      expect(deliveries.map(({ attempt }) => attempt)).toEqual([1, 1, 1]);
      await ackAll(deliveries);
      await consumer.close();
      await anew.close();
    });

    it('is not owed an event that has expired', async () => {
      const expiresAtMs = Date.now() + 1_000;
      await log().append(anEvent({ room: 'a', body: bytes('passing'), expiresAtMs }));
      await appendAll(log(), 'a', ['lasting']);
      await eventually(() => Date.now() > expiresAtMs);
      const consumer = await join();
      const deliveries = await pull(consumer, 1);

      expect(bodies(deliveries)).toEqual(['lasting']);
      await ackAll(deliveries);
      await consumer.close();
    });

    it('ends with its log also while an event is being given up', async () => {
      await appendAll(log(), 'a', ['0']);
      let given = (): void => undefined;
      const isDead = new Promise<void>((resolve) => (given = resolve));
      let tries = 0;
      const consumer = await join({}, () => ((tries += 1), isDead));
      const [delivery] = await pull(consumer, 1);
      const discarding = delivery?.discard('unreadable').catch((error: unknown) => error);
      await eventually(() => tries === 1);
      await log().close();
      given();

      expect([undefined, withCode('LOG_CLOSED', 'LOG_UNAVAILABLE')]).toContainEqual(await discarding);
      await reopen();
      const again = await join();
      expect(bodies(await pull(again, 1))).toEqual(['0']);
      await again.close();
    });

    it('ends with its log', async () => {
      const consumer = await join();
      await appendAll(log(), 'a', ['0']);
      const [delivery] = await pull(consumer, 1);
      const waiting = consumer.pull(1, AbortSignal.timeout(PULL_TIMEOUT_MS)).catch((error: unknown) => error);
      await log().close();

      expect([[], withCode('LOG_CLOSED')]).toContainEqual(await waiting);
      await expect(delivery?.ack()).rejects.toEqual(withCode('LOG_CLOSED', 'DELIVERY_UNKNOWN'));
      await expect(log().consumer(SPEC, nobodyDies)).rejects.toEqual(withCode('LOG_CLOSED'));
      await consumer.close();
    });
  });
}
