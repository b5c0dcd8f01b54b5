import { describe, expect, it } from 'vitest';
import { turn } from './fakes.test.fixture.ts';
import type { EventGap } from './gap.ts';
import { arrive, hearing, store } from './heard.test.fixture.ts';
import { joinedRig } from './model-rig.test.fixture.ts';

describe('a subscription in the second protocol', () => {
  it('1: hears what is for it alone, and what is for all once it is live', async () => {
    const rig = await joinedRig();
    store(rig, '1', '2');
    const past = hearing(rig, 'A', { since: { seq: 0 } });
    const now = hearing(rig, ['A', '*']);
    await rig.settle();
    store(rig, '3');
    await rig.settle();
    expect([past, now]).toEqual([[], ['3']]);
    rig.peer.catchUp();
    await rig.settle();
    expect([past, now]).toEqual([['1', '2', '3'], ['3']]);
    store(rig, '4');
    await rig.settle();
    expect([past, now]).toEqual([['1', '2', '3', '4'], ['3', '4']]);
  });

  it('1: hears live rooms whatever else it waits for', async () => {
    const rig = await joinedRig({}, { isLiveRoom: (room) => room === 'L' });
    store(rig, '1');
    const heard = hearing(rig, '*', { since: { seq: 0 } });
    await rig.settle();
    rig.hub.publish('L', { id: 'x', from: 'somebody', body: 'live' });
    await rig.settle();
    expect(heard).toEqual(['live']);
  });

  it('2: takes every sequence once', async () => {
    const rig = await joinedRig();
    const seqs: unknown[] = [];
    rig.messenger.subscribe('A', ({ seq, id, at, from }) => seqs.push(seq ?? [id, at, from]));
    await rig.settle();
    const [{ request = '' } = {}] = rig.said('subscribe');
    for (const fields of [{ seq: 1 }, { seq: 1 }, { seq: 3 }, { seq: 2 }, { seq: 3, re: request }, { seq: 4, re: request }, { id: 'x', at: 7, from: 'y' }]) arrive(rig, 'A', fields);
    expect(seqs).toEqual([1, 3, 4, ['x', 7, 'y']]);
  });

  it('2: takes an event of one room that comes after a later one of another, now or after a reconnect', async () => {
    const rig = await joinedRig({}, { marks: false });
    const heard = hearing(rig, '*');
    await rig.settle();
    const [first, second, third] = ['A', 'B', 'A'].map((room, at) => rig.hub.store(room, { id: `l${at}`, from: 'somebody', body: `${room}${at}` }));
    if (first === undefined || second === undefined || third === undefined) throw new Error('three events');
    rig.peer.route(second);
    rig.peer.route(first);
    await rig.settle();
    expect(heard).toEqual(['B1', 'A0']);
    rig.peer.route(second);
    await rig.settle();
    // Cut before the hub knew of the third: what it has is sent again and is not taken again.
    await rig.rejoin();
    rig.peer.catchUp();
    await rig.settle();
    expect(rig.said('subscribe').at(-1)?.since).toEqual({ seq: 0, epoch: 'epoch-1' });
    expect(heard).toEqual(['B1', 'A0', 'A2']);
  });

  it('2: takes an event of a live room once, also over a reconnect', async () => {
    const rig = await joinedRig({}, { isLiveRoom: () => true });
    const heard = hearing(rig, '*');
    await rig.settle();
    for (const id of ['x', 'y', 'x']) rig.hub.publish('L', { id, from: 'somebody', body: id });
    await rig.settle();
    await rig.rejoin();
    for (const id of ['y', 'z']) rig.hub.publish('L', { id, from: 'somebody', body: id });
    await rig.settle();
    expect(heard).toEqual(['x', 'y', 'z']);
  });

  it('3: goes on from where the hub said it is', async () => {
    const rig = await joinedRig({}, { marks: false });
    hearing(rig, '*');
    await rig.settle();
    store(rig, '1', '2');
    rig.peer.say({ op: 'live', request: rig.said('subscribe').at(-1)?.request ?? '', seq: 1 });
    await rig.settle();
    await rig.rejoin();
    expect(rig.said('subscribe').at(-1)?.since).toEqual({ seq: 1, epoch: 'epoch-1' });
  });

  it('2: leaves what is for all to its catch-up while it is behind', async () => {
    const rig = await joinedRig();
    const heard = hearing(rig, 'A');
    const other = hearing(rig, 'A');
    await rig.settle();
    rig.peer.fallBehind();
    store(rig, '1');
    await rig.settle();
    arrive(rig, 'A', { seq: 1 });
    expect(heard).toEqual([]);
    rig.peer.catchUp();
    await rig.settle();
    expect([heard, other]).toEqual([['1'], ['1']]);
  });

  it('3: goes on after a reconnect where it was; one that was not answered is asked as before', async () => {
    const rig = await joinedRig();
    store(rig, '1');
    const heard = hearing(rig, 'A', { since: { last: 1 } });
    rig.cut();
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    expect(rig.said('subscribe').map(({ since }) => since)).toEqual([{ last: 1 }]);
    rig.peer.catchUp();
    await rig.settle();
    rig.cut();
    store(rig, '2', '3');
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    expect(rig.said('subscribe').map(({ since }) => since)).toEqual([{ seq: 1, epoch: 'epoch-1' }]);
    rig.peer.catchUp(1);
    await rig.settle();
    const [{ request: before = '' } = {}] = rig.said('subscribe');
    await rig.rejoin();
    arrive(rig, 'A', { seq: 3, re: before });
    expect(heard).toEqual(['1', '2']);
    rig.peer.catchUp();
    await rig.settle();
    expect(heard).toEqual(['1', '2', '3']);
  });

  it('3: that began now has a place from the first moment', async () => {
    const rig = await joinedRig();
    store(rig, '1');
    const heard = hearing(rig, 'A');
    await rig.settle();
    rig.cut();
    store(rig, '2');
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    rig.peer.catchUp();
    await rig.settle();
    expect(heard).toEqual(['2']);
  });

  it('4: tells what is past retention: to onGap, else as EVENTS_MISSED; once', async () => {
    const rig = await joinedRig();
    const gaps: EventGap[] = [];
    const told = hearing(rig, 'A', { since: { seq: 0 }, onGap: (gap) => gaps.push(gap) });
    store(rig, '1', '2', '3');
    rig.hub.retainedAfter = 2;
    await rig.settle();
    rig.peer.catchUp();
    await rig.settle();
    expect([told, gaps, rig.errors]).toEqual([['3'], [{ from: 1, to: 2, reason: 'retention' }], []]);
    hearing(rig, 'A', { since: { seq: 1 } });
    await rig.settle();
    rig.peer.catchUp();
    await rig.settle();
    expect(rig.errors).toEqual([expect.objectContaining({ code: 'EVENTS_MISSED', detail: '2 to 2 of A (retention)' })]);
    rig.peer.say({ op: 'gap', request: '_1', from: 1, to: 2, reason: 'retention' });
    for (let told = 0; told < 2; told += 1) rig.peer.say({ op: 'gap', request: '_1', from: 3, to: 9, reason: 'damaged' });
    await rig.settle();
    expect(gaps.slice(1)).toEqual([{ from: 4, to: 9, reason: 'damaged' }]);
  });

  it('4: reports a callback for gaps that throws', async () => {
    const rig = await joinedRig();
    const own: string[] = [];
    rig.messenger.subscribe('A', () => undefined, {
      onError: ({ message }) => own.push(message),
      onGap: () => {
        throw new Error('gap');
      },
    });
    await rig.settle();
    rig.peer.say({ op: 'gap', request: '_1', from: 1, to: 2, reason: 'retention' });
    await rig.settle();
    expect(own).toEqual(['gap']);
  });

  it('4: begins anew in a log that was made anew', async () => {
    const rig = await joinedRig();
    store(rig, '1', '2', '3');
    const gaps: EventGap[] = [];
    const heard: string[] = [];
    const subscription = rig.messenger.subscribe('A', (event) => heard.push(event.text()), { since: { seq: 0 }, onGap: (gap) => gaps.push(gap) });
    expect(subscription.epoch).toBeUndefined();
    await rig.settle();
    rig.peer.catchUp();
    await rig.settle();
    rig.cut();
    rig.hub.renew('epoch-2');
    store(rig, 'first');
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    rig.peer.catchUp();
    await rig.settle();
    expect(subscription.epoch).toBe('epoch-2');
    expect(heard).toEqual(['1', '2', '3', 'first']);
    expect(gaps).toEqual([{ from: 4, to: 4, reason: 'epoch' }]);
  });

  it('5: does not hear its own messenger, unless it wants the echo', async () => {
    const rig = await joinedRig();
    const heard = hearing(rig, 'A');
    const echo = hearing(rig, 'A', { echo: true });
    await rig.settle();
    void rig.messenger.send('A', 'own');
    await rig.settle();
    store(rig, 'other');
    await rig.settle();
    expect([heard, echo]).toEqual([['other'], ['own', 'other']]);
    expect(rig.said('subscribe').map((frame) => frame.echo)).toEqual([undefined, true]);
  });

  it('6: ends with the code of its refusal, and alone', async () => {
    const rig = await joinedRig();
    const denied = rig.messenger.subscribe(['denied', 'B']);
    const heard = hearing(rig, 'A');
    await rig.settle();
    await expect(denied[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'RECEIVE_DENIED' });
    expect(rig.errors).toEqual([expect.objectContaining({ code: 'RECEIVE_DENIED' })]);
    expect(rig.messenger.state.rooms).toEqual(['A']);
    store(rig, '1');
    await rig.settle();
    expect(heard).toEqual(['1']);
    expect(rig.said('unsubscribe')).toEqual([]);
  });

  it('6: that does not fit a control frame is refused here', async () => {
    const rig = await joinedRig();
    const wide = rig.messenger.subscribe(Array.from({ length: 5_000 }, (_, index) => `ITB-${index}-a-long-name`));
    await rig.settle();
    await expect(wide[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'CONTROL_TOO_LARGE' });
    expect(rig.said('subscribe')).toEqual([]);
  });

  it('8: is in force when the messenger is ready, and so are all others', async () => {
    const rig = await joinedRig();
    for (const rooms of [['A', 'denied'], 'B', 'C']) rig.messenger.subscribe(rooms);
    let isReady = false;
    const ready = rig.messenger.ready().then(() => (isReady = true));
    await turn();
    rig.up();
    rig.down(3); // a refusal, and `subscribed` and `live` of B
    await turn();
    expect(isReady).toBe(false);
    await rig.settle();
    await ready;
    await rig.messenger.ready();
  });

  it('is dropped at the hub when it is closed', async () => {
    const rig = await joinedRig();
    const events = rig.messenger.subscribe('A');
    await rig.settle();
    events.close();
    arrive(rig, 'A', { seq: 1, re: '_1' });
    await rig.settle();
    expect(rig.said('unsubscribe')).toEqual([{ op: 'unsubscribe', request: '_1' }]);
  });

  it('that was closed before it was asked is not asked', async () => {
    const rig = await joinedRig();
    rig.messenger.subscribe('A').close();
    await rig.settle();
    expect(rig.said('subscribe')).toEqual([]);
  });
});
