import { describe, expect, it } from 'vitest';
import { hearing, store } from './heard.test.fixture.ts';
import { joinedRig, ModelRig } from './model-rig.test.fixture.ts';

describe('a place in a log that the hub does not have', () => {
  it('is told as LOG_ABSENT by a hub of the first protocol, before and after', () => {
    const rig = new ModelRig();
    hearing(rig, 'A', { since: { last: 5 } });
    rig.transport.socket.open();
    expect(rig.errors).toEqual([expect.objectContaining({ code: 'LOG_ABSENT' })]);
    hearing(rig, 'B');
    hearing(rig, 'C', { since: { at: 0 } });
    expect(rig.errors).toHaveLength(2);
  });

  it('is told as LOG_ABSENT when a hub that had one is replaced', async () => {
    const rig = await joinedRig();
    store(rig, '1');
    const heard = hearing(rig, 'A');
    await rig.settle();
    rig.cut();
    rig.clock.advance(4_000);
    rig.errors.length = 0;
    rig.transport.socket.open();
    expect(rig.errors).toEqual([expect.objectContaining({ code: 'LOG_ABSENT' })]);
    store(rig, '2');
    await rig.rejoin();
    rig.peer.catchUp();
    await rig.settle();
    expect(heard).toEqual(['2']);
  });

  it('is told as LOG_ABSENT by a hub without a log, whose rooms are all live', async () => {
    const rig = await joinedRig();
    rig.messenger.subscribe('A', () => undefined, { since: { seq: 4 } });
    await rig.settle();
    rig.errors.length = 0;
    rig.peer.say({ op: 'subscribed', request: '_1' });
    await rig.settle();
    expect(rig.errors).toEqual([expect.objectContaining({ code: 'LOG_ABSENT' })]);
  });
});

describe('what a hub of the second protocol says', () => {
  it('is told when it is a refusal of nothing in particular, or not understood', async () => {
    const rig = await joinedRig();
    for (const text of ['{"op":"error","code":"EVENT_ID_MISSING"}', '{"op":"error","code":"FROM_THE_FUTURE"}', '{"op":"error","code":"SEND_DENIED","request":"nobody"}', '{"op":"from-the-future"}', 'no JSON']) rig.transport.socket.text(text);
    expect(rig.errors.map(({ code }) => code)).toEqual(['EVENT_ID_MISSING', 'INTERNAL', 'SEND_DENIED', 'CONTROL_INVALID', 'CONTROL_INVALID']);
  });

  it('is passed over when it is for others, or about what is over', async () => {
    const rig = await joinedRig();
    for (const text of ['{"op":"bye"}', '{"op":"presence","request":"__9","room":"A"}', '{"op":"settled","request":"__9","seqs":[1]}', '{"op":"refreshed","request":"_-9"}', '{"op":"error","code":"REQUEST_UNKNOWN","request":"_9"}', '{"op":"live","request":"_9","seq":1}', '{"op":"page","request":"-9","next":1,"isLast":true}', '{"op":"published","class":"stored","events":[["gone",1]]}']) rig.transport.socket.text(text);
    expect(rig.errors).toEqual([]);
    expect(rig.messenger.state.status).toBe('open');
  });
});
