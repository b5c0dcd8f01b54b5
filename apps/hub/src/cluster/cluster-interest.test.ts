import { createInProcessExchange, type Bus, type BusSubscription } from '@carillon/bus';
import { matchesPattern, roomSubject } from '@carillon/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ClusterInterest } from './cluster-interest.ts';

const PREFIX = 'test.*';
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** An interest, what came to it, and somebody who publishes. */
function setUp(wrap: (bus: Bus) => Bus = (bus) => bus) {
  const exchange = createInProcessExchange();
  const publisher = exchange.connect();
  const got: string[] = [];
  const interest = new ClusterInterest(wrap(exchange.connect()), { prefix: PREFIX, deliver: ({ payload }) => got.push(Buffer.from(payload).toString('utf8')) });
  const publish = (room: string, text = room): unknown => publisher.publish(`test.m.${roomSubject(room)}`, Buffer.from(text));
  const settle = async (): Promise<void> => {
    await publisher.flush();
    await turn();
  };
  return { interest, got, publish, settle };
}

/** A bus whose subscriptions come into force when the test says so, as over a network. */
function slowToConfirm(bus: Bus): { readonly bus: Bus; readonly confirm: () => void } {
  const waiting: (() => void)[] = [];
  const subscribe: Bus['subscribe'] = (subject, options) => {
    const inner = bus.subscribe(subject, options);
    const active = new Promise<void>((resolve) => waiting.push(resolve));
    return { subject, active, unsubscribe: () => inner.unsubscribe() } satisfies BusSubscription;
  };
  const slow: Bus = {
    get state() { return bus.state; },
    payloadMaxBytes: bus.payloadMaxBytes,
    publish: (subject, payload) => bus.publish(subject, payload),
    subscribe,
    onState: (listener) => bus.onState(listener),
    keyValues: (bucket, options) => bus.keyValues(bucket, options),
    flush: (options) => bus.flush(options),
    close: () => bus.close(),
  };
  return { bus: slow, confirm: () => { for (const resolve of waiting.splice(0)) resolve(); } };
}

describe('the interest of a hub in its cluster', () => {
  it('is in the rooms that somebody wants and no other', async () => {
    const { interest, got, publish, settle } = setUp();
    interest.add('A');
    interest.add('C-*');
    for (const room of ['A', 'B', 'a', 'C-1', 'C-1-2', 'C']) publish(room);
    await settle();
    expect(got).toEqual(['A', 'C-1']);
    expect(interest.subscriptions).toBe(2);
  });

  it('ends with the last who wants a room, also when two patterns are one subject to NATS', async () => {
    const { interest, got, publish, settle } = setUp();
    for (const pattern of ['A-1*', 'A-2*']) interest.add(pattern);
    expect(interest.subscriptions).toBe(1);
    interest.remove('A-1*');
    publish('A-25');
    await settle();
    interest.remove('A-2*');
    publish('A-25', 'late');
    await settle();
    expect(got).toEqual(['A-25']);
    expect(interest.subscriptions).toBe(0);
  });

  it('in everything replaces the rooms, and gives them back', async () => {
    const { interest, got, publish, settle } = setUp();
    interest.add('A');
    interest.add('*');
    interest.add('**');
    interest.addAll();
    await settle();
    expect(interest.subscriptions).toBe(1);
    publish('A');
    publish('B');
    await settle();
    expect(got).toEqual(['A', 'B']);
    interest.add('D');
    interest.remove('*');
    interest.remove('**');
    expect(interest.subscriptions).toBe(1);
    interest.removeAll();
    await settle();
    expect(interest.subscriptions).toBe(2);
    for (const room of ['A', 'B', 'D']) publish(room, `${room} again`);
    await settle();
    expect(got).toEqual(['A', 'B', 'A again', 'D again']);
  });

  it('keeps the old subscriptions until the new ones are in force', async () => {
    let confirm = (): void => undefined;
    const { interest, got, publish, settle } = setUp((bus) => {
      const slow = slowToConfirm(bus);
      confirm = slow.confirm;
      return slow.bus;
    });
    interest.add('A');
    confirm();
    interest.addAll();
    await settle();
    expect(interest.subscriptions).toBe(2);
    confirm();
    await settle();
    expect(interest.subscriptions).toBe(1);
    interest.removeAll();
    await settle();
    publish('B'); // the old subscription to everything still stands
    publish('A');
    await settle();
    expect(new Set(got)).toEqual(new Set(['A', 'B']));
    confirm();
    await settle();
    got.length = 0;
    publish('B');
    publish('A');
    await settle();
    expect(got).toEqual(['A']);
  });

  it('loses nothing that was wanted all along, and nothing comes twice once it is settled, whatever changes', async () => {
    const patterns = ['A-1', 'A-2', 'A-*', 'B-1', '*', '**', 'A-**'];
    const rooms = ['A-1', 'A-2', 'B-1', 'C'];
    const step = fc.record({ pattern: fc.constantFrom(...patterns), add: fc.boolean(), settle: fc.boolean(), room: fc.constantFrom(...rooms) });
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const { interest, got, publish, settle } = setUp();
      const wanted = new Set<string>();
      const must: string[] = [];
      for (const [at, { pattern, add, settle: now, room }] of steps.entries()) {
        const before = new Set(wanted);
        if (add && !wanted.has(pattern)) interest.add(pattern);
        if (!add && wanted.has(pattern)) interest.remove(pattern);
        if (add) wanted.add(pattern);
        else wanted.delete(pattern);
        publish(room, `${at}`);
        if ([...wanted].some((one) => before.has(one) && matchesPattern(one, room))) must.push(`${at}`);
        if (now) await settle();
      }
      await settle();
      for (const text of must) expect(got).toContain(text);
      got.length = 0;
      for (const room of rooms) publish(room);
      await settle();
      const all = wanted.has('*') || wanted.has('**');
      const due = rooms.filter((room) => all || [...wanted].some((pattern) => matchesPattern(pattern, room)));
      expect([...new Set(got)].sort()).toEqual([...due].sort());
      // Rooms that overlapping patterns cover come once a subject; ids tell them. Everything comes by one.
      if (all) expect(got).toHaveLength(due.length);
    }), { numRuns: 100 });
  });
});
