import { describe, expect, it } from 'vitest';
import { joinedRig, type ModelRig } from './model-rig.test.fixture.ts';

const bodies = ({ hub }: ModelRig): string[] => hub.log.map(({ body }) => body);

describe('a publish', () => {
  it('P3: that the log refuses for now goes again after a pause; everything later waits', async () => {
    const refused = new Set(['b', 'c']);
    const rig = await joinedRig({}, { refuse: (id) => (refused.has(id) ? 'LOG_BACKLOGGED' : undefined) });
    const sent = ['a', 'b', 'c', 'd'].map((id) => rig.messenger.send('A', id, { id }));
    await rig.settle();
    rig.peer.answer(3);
    await rig.settle();
    sent.push(rig.messenger.send('A', 'e', { id: 'e' }));
    await rig.settle();
    rig.clock.advance(60_000);
    expect(bodies(rig)).toEqual(['a', 'd']);
    rig.peer.answer();
    await rig.settle();
    refused.clear();
    expect(bodies(rig)).toEqual(['a', 'd']);
    rig.clock.advance(499);
    await rig.settle();
    expect(bodies(rig)).toEqual(['a', 'd']);
    rig.clock.advance(1);
    await rig.settle();
    expect(bodies(rig)).toEqual(['a', 'd', 'b', 'c', 'e']);
    rig.peer.answer();
    await rig.settle();
    await Promise.all(sent);
  });

  it('pauses longer each time the log refuses, until it takes one', async () => {
    let isDown = true;
    const rig = await joinedRig({}, { refuse: () => (isDown ? 'LOG_UNAVAILABLE' : undefined) });
    const sent = rig.messenger.send('A', '1');
    for (const pauseMs of [500, 1_000, 2_000, 4_000, 4_000]) {
      await rig.settle();
      rig.peer.answer();
      await rig.settle();
      rig.clock.advance(pauseMs - 1);
      await rig.settle();
      expect(rig.peer.unanswered).toHaveLength(0);
      rig.clock.advance(1);
    }
    isDown = false;
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    rig.clock.advance(4_000);
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    expect(await sent).toMatchObject({ class: 'stored' });
  });

  it('that goes again after a loss does not wait out the pause', async () => {
    let isDown = true;
    const rig = await joinedRig({ backoff: { firstMs: 1_000, capMs: 1_000 } }, { refuse: () => (isDown ? 'LOG_UNAVAILABLE' : undefined) });
    const sent = rig.messenger.send('A', '1');
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    isDown = false;
    rig.clock.chance = 0.1;
    rig.cut();
    rig.clock.advance(100);
    rig.join();
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    expect(await sent).toMatchObject({ seq: 1 });
    expect(rig.clock.timers).toBe(2); // stable, and silence
  });
});

describe('a hub that announces its end', () => {
  it('C6: is stayed away from as long as it asked, and the loss is called by its name', async () => {
    const rig = await joinedRig();
    rig.peer.say({ op: 'drain', afterMs: 5_000 });
    await rig.settle();
    rig.cut();
    expect(rig.messenger.state.lastError?.code).toBe('DRAINING');
    rig.clock.advance(5_499);
    expect(rig.transport.sockets).toHaveLength(1);
    rig.clock.advance(1);
    expect(rig.transport.sockets).toHaveLength(2);
  });

  it.each([
    ['OVERLOADED retry-after-ms=1000', 'OVERLOADED', 5_500],
    ['DRAINING retry-after-ms=9000', 'DRAINING', 9_500],
  ])('C6: is stayed away from for the longer of the two when its close (%s) says something else', async (reason, code, waitMs) => {
    const rig = await joinedRig();
    rig.peer.say({ op: 'drain', afterMs: 5_000 });
    await rig.settle();
    rig.transport.socket.gone({ closeCode: 1013, reason });
    expect(rig.messenger.state.lastError?.code).toBe(code);
    rig.clock.advance(waitMs - 1);
    expect(rig.transport.sockets).toHaveLength(1);
    rig.clock.advance(1);
    expect(rig.transport.sockets).toHaveLength(2);
  });

  it('takes nothing new, and its successor gets that in order; what it has it answers', async () => {
    let isDraining = false;
    const rig = await joinedRig({}, { refuse: () => (isDraining ? 'DRAINING' : undefined) });
    const sent = [rig.messenger.send('A', 'a')];
    await rig.settle();
    isDraining = true;
    rig.peer.say({ op: 'drain', afterMs: 1_000 });
    sent.push(...['b', 'c'].map((body) => rig.messenger.send('A', body)));
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    expect(await sent[0]).toMatchObject({ seq: 1 });
    sent.push(rig.messenger.send('A', 'd'));
    rig.cut();
    isDraining = false;
    rig.clock.advance(5_000);
    rig.join();
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    expect((await Promise.all(sent)).map((published) => 'seq' in published && published.seq)).toEqual([1, 2, 3, 4]);
    expect(bodies(rig)).toEqual(['a', 'b', 'c', 'd']);
    expect(rig.errors.map(({ code }) => code)).toEqual(['DRAINING']);
  });
});
