import { describe, expect, it } from 'vitest';
import { fates } from './deliveries.test.fixture.ts';
import { turn } from './fakes.test.fixture.ts';
import { joinedRig, ModelRig } from './model-rig.test.fixture.ts';

/** The three of them: whatever one does by these rules, the others do. */
const KINDS = [
  { op: 'consume' as const, open: (rig: ModelRig) => rig.messenger.consume('jobs', 'A') },
  { op: 'enter' as const, open: (rig: ModelRig) => rig.messenger.enter('A') },
  { op: 'watch' as const, open: (rig: ModelRig) => rig.messenger.watch('A') },
];

const end = (opened: ReturnType<(typeof KINDS)[number]['open']>): unknown => ('leave' in opened ? opened.leave() : opened.close());

describe.each(KINDS)('what stands at the hub by $op', ({ op, open }) => {
  it('S1: is asked on every connection, under another name', async () => {
    const rig = await joinedRig();
    const opened = open(rig);
    await rig.settle();
    await opened.ready();
    expect(rig.said(op).map(({ request }) => request)).toEqual(['__1']);
    await rig.rejoin();
    await opened.ready();
    expect(rig.said(op).map(({ request }) => request)).toEqual(['__2']);
  });

  it('S2: is asked again after a pause when it is refused for now', async () => {
    const rig = await joinedRig();
    const opened = open(rig);
    await turn();
    const known = fates([opened.ready()]);
    rig.peer.say({ op: 'error', code: 'LOG_UNAVAILABLE', request: '__1' });
    rig.down();
    await turn();
    expect([known, rig.errors.map(({ code }) => code), rig.clock.timers > 0]).toEqual([['waits'], ['LOG_UNAVAILABLE'], true]);
    rig.clock.advance(999);
    await rig.settle();
    expect([known, rig.said(op).map(({ request }) => request), rig.said('unsubscribe')]).toEqual([['kept'], ['__1', '__2'], []]);
  });

  it('S2: is dropped before it is asked again when it was in force', async () => {
    const rig = await joinedRig();
    open(rig);
    await rig.settle();
    rig.peer.say({ op: 'error', code: 'LOG_UNAVAILABLE', request: '__1' });
    rig.down();
    rig.clock.advance(999);
    await rig.settle();
    expect([rig.said('unsubscribe'), rig.said(op).map(({ request }) => request)]).toEqual([[{ op: 'unsubscribe', request: '__1' }], ['__1', '__2']]);
  });

  it('S2: is not asked again when it is closed in the pause, or all is over', async () => {
    const rig = await joinedRig();
    const timers = rig.clock.timers;
    const opened = open(rig);
    await turn();
    rig.peer.say({ op: 'error', code: 'LOG_UNAVAILABLE', request: '__1' });
    rig.down();
    expect(rig.clock.timers).toBe(timers + 1);
    end(opened);
    expect(rig.clock.timers).toBe(timers);
    open(rig);
    await turn();
    rig.peer.say({ op: 'error', code: 'LOG_UNAVAILABLE', request: '__2' });
    rig.down();
    void rig.messenger.close();
    rig.transport.socket.gone();
    await turn();
    expect(rig.clock.timers).toBe(0);
  });

  it.each([true, false])('S3: ends with the code of its refusal, and is not asked again (in force: %s)', async (isInForce) => {
    const rig = await joinedRig();
    const opened = open(rig);
    if (isInForce) await rig.settle();
    else await turn();
    rig.peer.say({ op: 'error', code: 'RECEIVE_DENIED', detail: 'A', request: '__1' });
    rig.down();
    await expect(opened.ready()).rejects.toMatchObject({ code: 'RECEIVE_DENIED' });
    expect(rig.errors.map(({ code }) => code)).toEqual(['RECEIVE_DENIED']);
    await rig.rejoin();
    expect(rig.said(op)).toEqual([]);
  });

  it('S4: ends with LOG_ABSENT over the first protocol', async () => {
    const rig = new ModelRig();
    const waiting = fates([open(rig).ready()]);
    rig.transport.socket.open();
    await turn();
    expect(waiting).toEqual([expect.objectContaining({ code: 'LOG_ABSENT' })]);
    await expect(open(rig).ready()).rejects.toMatchObject({ code: 'LOG_ABSENT' });
  });

  it('S5: is ready when it is in force, and never after it was closed', async () => {
    const rig = new ModelRig();
    const opened = open(rig);
    const known = fates([opened.ready(), opened.ready()]);
    rig.join();
    await rig.settle();
    expect(known).toEqual(['kept', 'kept']);
    end(opened);
    await expect(opened.ready()).rejects.toMatchObject({ code: 'ABORTED' });
    const away = new ModelRig();
    const waiting = open(away);
    const late = fates([waiting.ready()]);
    end(waiting);
    await turn();
    expect(late).toEqual([expect.objectContaining({ code: 'ABORTED' })]);
  });

  it('S6: is dropped at the hub if it was asked there, and only then', async () => {
    const rig = await joinedRig();
    const early = open(rig);
    end(early);
    await rig.settle();
    const opened = open(rig);
    await rig.settle();
    end(opened);
    end(opened);
    await rig.settle();
    expect([rig.said(op).length, rig.said('unsubscribe')]).toEqual([1, [{ op: 'unsubscribe', request: '__1' }]]);
    const away = open(rig);
    await rig.settle();
    rig.cut();
    end(away);
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    expect([rig.said(op), rig.said('unsubscribe')]).toEqual([[], []]);
  });

  it('is refused when the messenger is closed', async () => {
    const rig = await joinedRig();
    void rig.messenger.close();
    expect(() => open(rig)).toThrow(expect.objectContaining({ code: 'MESSENGER_CLOSED' }));
  });
});

describe('a consumer', () => {
  it('S3: that does not fit a control frame is refused here', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', Array.from({ length: 5_000 }, (_, index) => `room-${index}-with-a-name`));
    await expect(consumer.ready()).rejects.toMatchObject({ code: 'CONTROL_TOO_LARGE' });
    expect(rig.said('consume')).toEqual([]);
  });
});
