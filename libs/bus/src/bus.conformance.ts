import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Bus, BusState, PublishOutcome } from './bus.ts';

/** What the suite needs of an implementation: handles on one exchange with these limits. */
export interface BusWorld {
  /** Resolves when the handle is connected. */
  connect(): Promise<Bus>;
}

/** The limits that a world is set up with. */
export const CONFORMANCE_LIMITS = { payloadMaxBytes: 64 * 1024, outboundMaxBytes: 1024 * 1024 } as const;

const text = (payload: Uint8Array): string => Buffer.from(payload).toString('utf8');
const bytes = (value: string): Uint8Array => Buffer.from(value, 'utf8');

/** Runs the suite that every Bus passes. `world` is called inside the tests: it may be made in a `beforeAll` before this call. */
export function describeBus(name: string, world: () => BusWorld): void {
  describe(`${name} as a Bus`, () => {
    let count = 0;
    let prefix: string;
    let opened: Bus[];
    let left: Bus;
    let right: Bus;

    const connect = async (): Promise<Bus> => {
      const bus = await world().connect();
      opened.push(bus);
      return bus;
    };
    const collect = async (bus: Bus, subject: string, queue?: string) => {
      const got: string[] = [];
      const subscription = bus.subscribe(subject, {
        ...(queue === undefined ? {} : { queue }),
        deliver: (delivery) => got.push(`${delivery.subject.slice(prefix.length)}=${text(delivery.payload)}`),
      });
      await subscription.active;
      return { got, subscription };
    };
    /** Waits until everything `from` has published so far was delivered to everybody. */
    const settle = async (from: Bus): Promise<void> => {
      const others = opened.filter((bus) => bus !== from && bus.state === 'connected');
      let arrived = 0;
      const fences = others.map((bus) => bus.subscribe(`${prefix}fence`, { deliver: () => (arrived += 1) }));
      await Promise.all(fences.map(({ active }) => active));
      from.publish(`${prefix}fence`, bytes(''));
      await eventually(() => arrived === others.length, { what: 'the fence to arrive' });
      await Promise.all(fences.map((fence) => fence.unsubscribe()));
    };

    beforeEach(async () => {
      opened = [];
      count += 1;
      prefix = `conformance.${count}.`;
      [left, right] = await Promise.all([connect(), connect()]);
    });
    afterEach(async () => {
      await Promise.all(opened.map((bus) => bus.close()));
    });

    it('delivers to another handle, byte for byte', async () => {
      const payload = Uint8Array.from({ length: 256 }, (_, index) => index);
      const got: Buffer[] = [];
      const subscription = right.subscribe(`${prefix}a`, { deliver: (delivery) => got.push(Buffer.from(delivery.payload)) });
      await subscription.active;

      expect(left.publish(`${prefix}a`, payload)).toBe('sent');
      expect(left.publish(`${prefix}a`, new Uint8Array(0))).toBe('sent');
      await settle(left);

      expect(subscription.subject).toBe(`${prefix}a`);
      expect(got).toEqual([Buffer.from(payload), Buffer.alloc(0)]);
    });

    it('does not deliver to the handle that published', async () => {
      const own = await collect(left, `${prefix}a`);
      const ownMember = await collect(left, `${prefix}a`, 'workers');
      const otherMember = await collect(right, `${prefix}a`, 'workers');
      for (let index = 0; index < 20; index += 1) left.publish(`${prefix}a`, bytes('x'));
      await settle(left);

      expect([own.got, ownMember.got]).toEqual([[], []]);
      expect(otherMember.got).toHaveLength(20);
    });

    it('delivers later, never inside publish', async () => {
      let inside = false;
      const seen: boolean[] = [];
      await right.subscribe(`${prefix}a`, { deliver: () => seen.push(inside) }).active;
      inside = true;
      left.publish(`${prefix}a`, bytes('x'));
      inside = false;
      await settle(left);

      expect(seen).toEqual([false]);
    });

    it('keeps the order of a publisher over its subjects', async () => {
      const { got } = await collect(right, `${prefix}>`);
      const sent = Array.from({ length: 5_000 }, (_, index) => `${index % 7}=${index}`);
      for (const event of sent) {
        const [subject = '', payload = ''] = event.split('=');
        expect(left.publish(`${prefix}${subject}`, bytes(payload))).toBe('sent');
      }
      await settle(left);

      expect(got.filter((event) => !event.startsWith('fence'))).toEqual(sent);
    });

    it.each([
      ['a.b', ['a.b']],
      ['a.*', ['a.b', 'a.c']],
      ['*.b', ['a.b', 'x.b']],
      ['*.*.c', ['a.b.c']],
      ['a.>', ['a.b', 'a.c', 'a.b.c', 'a.b.c.d']],
      ['*.b.>', ['a.b.c', 'a.b.c.d']],
      ['a.*.c', ['a.b.c']],
    ])('matches %s', async (pattern, matching) => {
      const { got } = await collect(right, `${prefix}${pattern}`);
      for (const subject of ['a', 'a.b', 'a.c', 'x.b', 'a.b.c', 'a.b.c.d', 'ab', 'a*.b']) left.publish(`${prefix}${subject}`, bytes(''));
      await settle(left);

      expect(got.map((event) => event.slice(0, -1)).filter((subject) => subject !== 'a*.b')).toEqual(matching);
    });

    it('delivers once to each of the subscriptions of a handle that match', async () => {
      const exact = await collect(right, `${prefix}a.b`);
      const wild = await collect(right, `${prefix}a.*`);
      left.publish(`${prefix}a.b`, bytes('x'));
      await settle(left);

      expect([exact.got, wild.got]).toEqual([['a.b=x'], ['a.b=x']]);
    });

    it('gives each event to exactly one member of a queue group, and to everybody else', async () => {
      const third = await connect();
      const workers = [await collect(right, `${prefix}a`, 'workers'), await collect(third, `${prefix}a`, 'workers'), await collect(third, `${prefix}*`, 'workers')];
      const auditors = [await collect(right, `${prefix}a`, 'auditors'), await collect(third, `${prefix}a`, 'auditors')];
      const plain = await collect(right, `${prefix}a`);
      const sent = Array.from({ length: 200 }, (_, index) => `a=${index}`);
      for (const event of sent) left.publish(`${prefix}a`, bytes(event.slice(2)));
      await settle(left);

      const byNumber = (one: string, other: string) => Number(one.slice(2)) - Number(other.slice(2));
      for (const group of [workers, auditors]) {
        const events = group.flatMap(({ got }) => got).filter((event) => event.startsWith('a='));
        expect(events.sort(byNumber)).toEqual(sent);
        expect(group.filter(({ got }) => got.length > 0).length).toBeGreaterThan(1);
      }
      expect(plain.got).toEqual(sent);
    });

    it('delivers nothing after an unsubscription has resolved', async () => {
      const { got, subscription } = await collect(right, `${prefix}a`);
      left.publish(`${prefix}a`, bytes('1'));
      await left.flush();
      await Promise.all([subscription.unsubscribe(), subscription.unsubscribe()]);
      const before = [...got];
      left.publish(`${prefix}a`, bytes('2'));
      await settle(left);

      expect(before).toEqual(['a=1']);
      expect(got).toEqual(before);
    });

    it('takes unsubscriptions, subscriptions and publishing inside a delivery', async () => {
      const answers = await collect(left, `${prefix}answer`);
      const late = await new Promise<Awaited<ReturnType<typeof collect>>>((resolve) => {
        const once = right.subscribe(`${prefix}a`, {
          deliver: () => {
            right.publish(`${prefix}answer`, bytes('hello'));
            void once.unsubscribe().then(() => resolve(collect(right, `${prefix}b`)));
          },
        });
        void once.active.then(() => left.publish(`${prefix}a`, bytes('')));
      });
      left.publish(`${prefix}b`, bytes('2'));
      await settle(left);
      await settle(right);

      expect(answers.got).toEqual(['answer=hello']);
      expect(late.got).toEqual(['b=2']);
    });

    it('goes on when a delivery throws', async () => {
      await right.subscribe(`${prefix}a`, { deliver: () => { throw new Error('a faulty subscriber'); } }).active;
      const { got } = await collect(right, `${prefix}a`);
      left.publish(`${prefix}a`, bytes('1'));
      left.publish(`${prefix}a`, bytes('2'));
      await settle(left);

      expect(got).toEqual(['a=1', 'a=2']);
      expect(right.state).toBe('connected');
    });

    it('takes the largest payload and refuses one byte more', async () => {
      const sizes: number[] = [];
      await right.subscribe(`${prefix}a`, { deliver: ({ payload }) => sizes.push(payload.length) }).active;

      expect(left.payloadMaxBytes).toBe(CONFORMANCE_LIMITS.payloadMaxBytes);
      expect(left.publish(`${prefix}a`, new Uint8Array(left.payloadMaxBytes))).toBe('sent');
      expect(left.publish(`${prefix}a`, new Uint8Array(left.payloadMaxBytes + 1))).toBe('too-large');
      await settle(left);
      expect(sizes).toEqual([left.payloadMaxBytes]);
    });

    it('says backlogged when too much is under way, and recovers', async () => {
      let delivered = 0;
      await right.subscribe(`${prefix}a`, { deliver: () => (delivered += 1) }).active;
      const payload = new Uint8Array(32 * 1024);
      const outcomes: PublishOutcome[] = Array.from({ length: 64 }, () => left.publish(`${prefix}a`, payload));
      const sentCount = outcomes.filter((outcome) => outcome === 'sent').length;

      expect(outcomes.slice(0, sentCount).every((outcome) => outcome === 'sent')).toBe(true);
      expect(new Set(outcomes.slice(sentCount))).toEqual(new Set(['backlogged']));
      expect(sentCount * payload.length).toBeLessThanOrEqual(CONFORMANCE_LIMITS.outboundMaxBytes);
      expect(sentCount * payload.length).toBeGreaterThan(CONFORMANCE_LIMITS.outboundMaxBytes * 0.9);
      await eventually(() => left.publish(`${prefix}other`, payload) === 'sent', { what: 'the backlog to pass' });
      await settle(left);
      expect(delivered).toBe(sentCount);
    });

    it.each(['', 'a b', 'a\r\nPING', '\t'])('refuses the subject %j', (subject) => {
      expect(() => left.publish(subject, bytes(''))).toThrow(expect.objectContaining({ code: 'BUS_SUBJECT_INVALID' }));
      expect(() => left.subscribe(subject, { deliver: () => undefined })).toThrow(expect.objectContaining({ code: 'BUS_SUBJECT_INVALID' }));
    });

    it('closes once, tells it, and takes nothing any more', async () => {
      const states: BusState[] = [];
      const ended: BusState[] = [];
      left.onState((state) => states.push(state));
      left.onState((state) => ended.push(state))();
      const { subscription } = await collect(left, `${prefix}a`);

      await Promise.all([left.close(), left.close()]);
      await left.close();

      expect(left.state).toBe('closed');
      expect(states).toEqual(['closed']);
      expect(ended).toEqual([]);
      expect(left.publish(`${prefix}a`, bytes(''))).toBe('away');
      expect(() => left.subscribe(`${prefix}a`, { deliver: () => undefined })).toThrow(expect.objectContaining({ code: 'BUS_CLOSED' }));
      await expect(left.flush()).rejects.toMatchObject({ code: 'BUS_CLOSED' });
      await subscription.unsubscribe();
    });

    it('flushes within the time that it is given', async () => {
      await left.flush({ timeoutMs: 5_000 });

      expect(left.state).toBe('connected');
    });

    it('hands over what was published before it closed', async () => {
      const { got } = await collect(right, `${prefix}a`);
      for (let index = 0; index < 100; index += 1) left.publish(`${prefix}a`, bytes(String(index)));
      await left.close();

      await eventually(() => got.length === 100);
    });

    it('delivers what is under way when it closes, and nothing after', async () => {
      const { got } = await collect(right, `${prefix}a`);
      left.publish(`${prefix}a`, bytes('1'));
      await left.flush();
      await right.close();
      const before = [...got];
      left.publish(`${prefix}a`, bytes('2'));
      await settle(left);

      expect(before).toEqual(['a=1']);
      expect(got).toEqual(before);
    });
  });
}
