import { describe, expect, it } from 'vitest';
import { turn } from './fakes.test.fixture.ts';
import { read, rejection, store } from './heard.test.fixture.ts';
import { joinedRig } from './model-rig.test.fixture.ts';
import type { ReceivedEvent } from './received-event.ts';

describe('a subscription that is not read, in the second protocol', () => {
  it('7: that is not read lets the log keep its events, and goes on when there is room', async () => {
    const rig = await joinedRig({ subscriptionMaxEvents: 4 });
    const events = rig.messenger.subscribe('A', { since: { seq: 0 } });
    const bodies = Array.from({ length: 20 }, (_, index) => `${index}`);
    store(rig, ...bodies.slice(0, 10));
    await rig.settle();
    rig.peer.catchUp();
    await rig.settle();
    expect(events.closed).toBe(false);
    expect(rig.said('subscribe').at(-1)?.since).toBeUndefined();
    store(rig, ...bodies.slice(10));
    await rig.settle();
    expect(await read(events, rig, 20)).toEqual(bodies);
    expect(rig.errors).toEqual([]);
  });

  it('7: goes on when half of its room is free', async () => {
    const rig = await joinedRig({ subscriptionMaxEvents: 4 });
    const reader = rig.messenger.subscribe('A')[Symbol.asyncIterator]();
    await rig.settle();
    store(rig, '1', '2', '3', '4', '5');
    await rig.settle();
    const starts: unknown[] = [];
    for (let count = 0; count < 2; count += 1) {
      await reader.next();
      await rig.settle();
      starts.push(rig.said('subscribe').at(-1)?.since);
    }
    expect(starts).toEqual([undefined, { seq: 4, epoch: 'epoch-1' }]);
  });

  it('7: still waits for its reader after a reconnect', async () => {
    const rig = await joinedRig({ subscriptionMaxEvents: 2 });
    const events = rig.messenger.subscribe('A');
    await rig.settle();
    store(rig, '1', '2', '3');
    await rig.settle();
    await rig.rejoin();
    expect(rig.said('subscribe').map(({ since }) => since)).toEqual([undefined]);
    expect(await read(events, rig, 3)).toEqual(['1', '2', '3']);
    expect(rig.said('subscribe').at(-1)?.since).toEqual({ seq: 2, epoch: 'epoch-1' });
  });

  it('7: takes nothing between making room and asking', async () => {
    const rig = await joinedRig({ subscriptionMaxEvents: 1 });
    const events = rig.messenger.subscribe('A');
    await rig.settle();
    store(rig, '1', '2');
    await rig.settle();
    store(rig, '3');
    const first = events[Symbol.asyncIterator]().next();
    rig.down();
    expect(((await first).value as ReceivedEvent).text()).toBe('1');
    await rig.settle();
    rig.peer.catchUp();
    await rig.settle();
    expect(await read(events, rig, 2)).toEqual(['2', '3']);
  });

  it('7: takes no answer to a request of before for one of after', async () => {
    const rig = await joinedRig({ subscriptionMaxEvents: 1 });
    const events = rig.messenger.subscribe('A');
    await rig.settle();
    store(rig, '1', '2');
    rig.down();
    await turn();
    rig.up();
    store(rig, '3');
    // Its reader makes room while the answers to the pause are on the way.
    const reader = events[Symbol.asyncIterator]();
    const first = reader.next();
    rig.down();
    expect(((await first).value as ReceivedEvent).text()).toBe('1');
    await rig.settle();
    rig.peer.catchUp();
    await rig.settle();
    expect(await read(events, rig, 2)).toEqual(['2', '3']);
  });

  it('7: ends when there is no room for an event that no log keeps', async () => {
    const rig = await joinedRig({ subscriptionMaxEvents: 1 }, { isLiveRoom: (room) => room === 'L' });
    const events = rig.messenger.subscribe(['A', 'L']);
    await rig.settle();
    store(rig, '1', '2');
    await rig.settle();
    expect(events.closed).toBe(false);
    rig.hub.publish('L', { id: 'x', from: 'somebody', body: 'live' });
    await rig.settle();
    expect(await rejection(events)).toMatchObject({ code: 'SUBSCRIPTION_OVERFLOW' });
  });
});
