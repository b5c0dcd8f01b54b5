import { describe, expect, it } from 'vitest';
import { turn } from './fakes.test.fixture.ts';
import { arrive } from './heard.test.fixture.ts';
import { joinedRig, ModelRig } from './model-rig.test.fixture.ts';

const store = (rig: ModelRig, count: number): void => {
  for (let index = 1; index <= count; index += 1) rig.hub.publish(index % 2 === 0 ? 'A' : 'B', { id: `id-${index}`, from: 'somebody', body: `${index}` });
};

describe('history', () => {
  it('reads pages of the past, both ways', async () => {
    const rig = await joinedRig();
    store(rig, 10);
    const newest = rig.messenger.history('*', { max: 3 });
    const older = rig.messenger.history('A', { before: 8, max: 2 });
    const oldest = rig.messenger.history('A', { after: 0 });
    await rig.settle();
    const pages = await Promise.all([newest, older, oldest]);
    expect(pages.map(({ events }) => events.map((event) => event.seq))).toEqual([[8, 9, 10], [4, 6], [2, 4, 6, 8, 10]]);
    expect(pages.map(({ next, isLast, gaps }) => [next, isLast, gaps])).toEqual([[10, true, []], [7, false, []], [10, true, []]]);
  });

  it('says what is missing', async () => {
    const rig = await joinedRig();
    rig.hub.retainedAfter = 4;
    const page = rig.messenger.history('A');
    await rig.settle();
    expect((await page).gaps).toEqual([{ from: 1, to: 4, reason: 'retention' }]);
  });

  it('H2: is nothing that subscriptions hear, and no more than was asked for', async () => {
    const rig = await joinedRig();
    store(rig, 2);
    let heard = 0;
    rig.messenger.subscribe('*', () => (heard += 1));
    const page = rig.messenger.history('*', { max: 3 });
    await turn();
    for (const seq of [7, 8, 9]) arrive(rig, 'A', { seq, re: '-1' });
    await rig.settle();
    expect(heard).toBe(0);
    expect((await page).events.map(({ seq }) => seq)).toEqual([7, 8, 9]);
  });

  it('H1: is asked again after a loss, from the beginning', async () => {
    const rig = await joinedRig();
    store(rig, 3);
    const lost = rig.messenger.history('*');
    await turn();
    rig.up();
    rig.down(2);
    await rig.rejoin();
    expect(rig.said('history')).toHaveLength(1);
    expect((await lost).events.map(({ seq }) => seq)).toEqual([1, 2, 3]);
  });

  it('H4: is refused alone when it is to begin behind the end', async () => {
    const rig = await joinedRig();
    store(rig, 1);
    const behind = rig.messenger.history('B', { after: 9 });
    behind.catch(() => undefined);
    const page = rig.messenger.history('B', { before: 9 });
    await turn();
    rig.peer.say({ op: 'error', code: 'SINCE_INVALID', request: '-1' });
    await rig.settle();
    await expect(behind).rejects.toMatchObject({ code: 'SINCE_INVALID' });
    expect((await page).events.map(({ seq }) => seq)).toEqual([1]);
    expect([rig.errors, rig.messenger.state.status]).toEqual([[], 'open']);
  });

  it('rejects with what the hub says, and with LOG_ABSENT where none can be', async () => {
    const rig = await joinedRig();
    const refused = rig.messenger.history('A');
    refused.catch(() => undefined);
    rig.peer.say({ op: 'error', code: 'RECEIVE_DENIED', request: '-1' });
    rig.down();
    await expect(refused).rejects.toMatchObject({ code: 'RECEIVE_DENIED' });
    const plain = new ModelRig();
    const waiting = plain.messenger.history('A');
    plain.transport.socket.open();
    await expect(waiting).rejects.toMatchObject({ code: 'LOG_ABSENT' });
    await expect(plain.messenger.history('A')).rejects.toMatchObject({ code: 'LOG_ABSENT' });
  });

  it('H3: is bounded, aborted and refused like everything else', async () => {
    const rig = new ModelRig();
    const aborts = Array.from({ length: 16 }, () => new AbortController());
    const pages = aborts.map(({ signal }) => rig.messenger.history('A', { signal }).catch((error: { code: string }) => error.code));
    await expect(rig.messenger.history('A')).rejects.toMatchObject({ code: 'REQUESTS_EXCEEDED' });
    for (const abort of aborts) abort.abort();
    expect(new Set(await Promise.all(pages))).toEqual(new Set(['ABORTED']));
    await expect(rig.messenger.history('A', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(rig.messenger.history('')).rejects.toMatchObject({ code: 'PATTERN_INVALID' });
    for (const range of [{ max: 0 }, { max: 1_001 }, { before: 1, after: 1 }, { after: -1 }]) await expect(rig.messenger.history('A', range)).rejects.toThrow(RangeError);
    const open = rig.messenger.history('A');
    void rig.messenger.close();
    await expect(open).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
    await expect(rig.messenger.history('A')).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
  });
});
