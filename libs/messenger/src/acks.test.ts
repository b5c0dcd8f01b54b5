import { parseFrame } from '@carillon/wire';
import { describe, expect, it } from 'vitest';
import { turn } from './fakes.test.fixture.ts';
import { joinedRig, ModelRig } from './model-rig.test.fixture.ts';
import { OUTBOUND_MAX_FRAMES } from './outbound.ts';

const bodies = ({ hub }: ModelRig): string[] => hub.log.map(({ body }) => body);

describe('a publish in the second protocol', () => {
  it('resolves when the hub has it, with its id, place and class', async () => {
    const rig = await joinedRig();
    const sent = rig.messenger.send('A', '1', { id: 'one' });
    await rig.settle();
    expect(rig.messenger.state.queuedBytes).toBe(3);
    rig.peer.answer();
    await rig.settle();
    expect(await sent).toEqual({ class: 'stored', id: 'one', seq: 1 });
    expect(rig.messenger.state).toMatchObject({ queuedBytes: 0, protocol: 2 });
  });

  it('to a live room has no place', async () => {
    const rig = await joinedRig({}, { isLiveRoom: () => true });
    const sent = rig.messenger.send('A', '1', { id: 'one' });
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    expect(await sent).toEqual({ class: 'live', id: 'one' });
  });

  it('carries its id, time to live and trace', async () => {
    const rig = await joinedRig();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    void rig.messenger.send('A', '1', { ttlMs: 500, traceparent });
    const parsed = parseFrame(rig.transport.socket.sent.at(-1) as Uint8Array, 2);
    expect(parsed).toMatchObject({ ok: true, room: 'A', fields: { ttl: 500, tp: traceparent, id: expect.stringMatching(/^[0-9A-Z]{26}$/) as string } });
    await expect(rig.messenger.send('A', '1', { id: 'not an id' })).rejects.toMatchObject({ code: 'TAG_LINE_INVALID' });
    await expect(rig.messenger.send('A', '1', { ttlMs: 0.5 })).rejects.toMatchObject({ code: 'TAG_LINE_INVALID' });
    await expect(rig.messenger.send('A', '1', { traceparent: 'x' })).rejects.toMatchObject({ code: 'TAG_LINE_INVALID' });
  });

  it('P1 P2 P6: that was not answered goes again, once stored, before anything newer', async () => {
    const rig = await joinedRig();
    const sent = ['1', '2', '3'].map((body) => rig.messenger.send('A', body));
    await turn();
    rig.up(2);
    rig.peer.answer(1);
    rig.cut();
    sent.push(rig.messenger.send('A', '4'));
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    expect((await Promise.all(sent)).map((published) => 'seq' in published && published.seq)).toEqual([1, 2, 3, 4]);
    expect(bodies(rig)).toEqual(['1', '2', '3', '4']);
  });

  it('P4: waits for its turn when as many as the hub takes wait for answers', async () => {
    const rig = await joinedRig({}, { publishesMax: 2 });
    const sent = ['1', '2', '3'].map((body) => rig.messenger.send('A', body));
    await rig.settle();
    expect(bodies(rig)).toEqual(['1', '2']);
    rig.peer.answer(1);
    await rig.settle();
    expect(bodies(rig)).toEqual(['1', '2', '3']);
    rig.peer.answer();
    await rig.settle();
    await Promise.all(sent);
  });

  it('P4: of an id that waits for its answer waits for that', async () => {
    const rig = await joinedRig();
    const sent = [rig.messenger.send('A', '1', { id: 'one' }), rig.messenger.send('A', '1', { id: 'one' })];
    await rig.settle();
    expect(rig.peer.unanswered).toHaveLength(1);
    rig.peer.answer();
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    expect(await Promise.all(sent)).toEqual([{ class: 'stored', id: 'one', seq: 1 }, { class: 'stored', id: 'one', seq: 1 }]);
  });

  it('is refused by the hub with its code, and the others go on', async () => {
    const rig = await joinedRig({}, { refuse: (id) => (id === 'bad' ? 'SEND_DENIED' : undefined) });
    const bad = expect(rig.messenger.send('A', '1', { id: 'bad' })).rejects.toMatchObject({ code: 'SEND_DENIED' });
    const good = rig.messenger.send('A', '2');
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    await bad;
    expect(await good).toMatchObject({ seq: 1 });
    expect(rig.messenger.state.queuedBytes).toBe(0);
  });

  it('P5: holds room until it is answered, and is refused when there is none', async () => {
    const rig = await joinedRig({ outboundMaxBytes: 8 });
    const sent = [rig.messenger.send('A', '12'), rig.messenger.send('A', '34')];
    await rig.settle();
    await expect(rig.messenger.send('A', '')).rejects.toMatchObject({ code: 'PUBLISH_QUEUE_FULL' });
    rig.peer.answer(1);
    await rig.settle();
    sent.push(rig.messenger.send('A', '56'));
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    await Promise.all(sent);
  });

  it('P5: is one of a bounded number, answered or not', async () => {
    const rig = await joinedRig();
    for (let count = 0; count < OUTBOUND_MAX_FRAMES; count += 1) rig.messenger.send('A', '').catch(() => undefined);
    await expect(rig.messenger.send('A', '')).rejects.toMatchObject({ code: 'PUBLISH_QUEUE_FULL' });
    void rig.messenger.close();
  });

  it('that the hub would not take for its size is refused here', async () => {
    const rig = await joinedRig({}, { frameMaxBytes: 60 });
    await expect(rig.messenger.send('A', 'x'.repeat(60))).rejects.toMatchObject({ code: 'FRAME_TOO_LARGE' });
    expect(rig.messenger.state.queuedBytes).toBe(0);
  });

  it('P7: that is aborted may have been stored, if it was sent; nobody is confused by its answer', async () => {
    const rig = await joinedRig({}, { publishesMax: 1 });
    const abort = new AbortController();
    const first = rig.messenger.send('A', '1', { signal: abort.signal });
    const second = rig.messenger.send('A', '2', { signal: abort.signal });
    const third = rig.messenger.send('A', '3');
    await rig.settle();
    abort.abort();
    await expect(first).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(second).rejects.toMatchObject({ code: 'ABORTED' });
    rig.peer.answer();
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    expect(await third).toMatchObject({ seq: 2 });
    expect(bodies(rig)).toEqual(['1', '3']);
    expect(rig.messenger.state.queuedBytes).toBe(0);
  });

  it.each(['its signal', 'its time'])('P7: that is given up by %s before it was ever sent is not in the log', async (cause) => {
    const rig = new ModelRig({ publishTimeoutMs: 2_000 });
    const abort = new AbortController();
    const given = rig.messenger.send('A', 'given up', { signal: abort.signal });
    given.catch(() => undefined);
    const kept = rig.messenger.send('A', 'early');
    kept.catch(() => undefined);
    if (cause === 'its signal') abort.abort();
    else rig.clock.advance(2_000);
    await expect(given).rejects.toMatchObject({ code: 'ABORTED' });
    const later = rig.messenger.send('A', 'later');
    rig.join();
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    await later;
    expect(bodies(rig)).toEqual(cause === 'its signal' ? ['early', 'later'] : ['later']);
    expect(rig.messenger.state.queuedBytes).toBe(0);
  });

  it('P7: that nobody waits for is not sent again', async () => {
    const rig = await joinedRig();
    const abort = new AbortController();
    const sent = rig.messenger.send('A', '1', { signal: abort.signal });
    abort.abort();
    await expect(sent).rejects.toMatchObject({ code: 'ABORTED' });
    await rig.rejoin();
    expect(bodies(rig)).toEqual([]);
    expect(rig.messenger.state.queuedBytes).toBe(0);
  });

  it('gives up after the time that the options say', async () => {
    const rig = await joinedRig({ publishTimeoutMs: 2_000 });
    const late = rig.messenger.send('A', '1');
    const early = rig.messenger.send('A', '2', { id: 'early' });
    await rig.settle();
    rig.peer.say({ op: 'published', class: 'replicated', events: [['early', 7]] });
    await rig.settle();
    expect(await early).toEqual({ class: 'replicated', id: 'early', seq: 7 });
    rig.clock.advance(2_000);
    await expect(late).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('is waited for by drain, over a reconnect', async () => {
    const rig = await joinedRig();
    const sent = rig.messenger.send('A', '1');
    await rig.settle();
    const drained = rig.messenger.drain();
    rig.cut();
    expect(rig.messenger.state.status).toBe('draining');
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    rig.peer.answer();
    await rig.settle();
    expect(await sent).toMatchObject({ seq: 1 });
    expect(rig.messenger.state.status).toBe('closed');
    rig.transport.socket.gone({ closeCode: 1000 });
    await drained;
  });

  it('rejects with MESSENGER_CLOSED when the messenger is closed', async () => {
    const rig = await joinedRig();
    const sent = rig.messenger.send('A', '1');
    void rig.messenger.close();
    await expect(sent).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
  });

  it('goes by the first protocol to a hub that speaks that, and nothing is promised of it', async () => {
    const rig = new ModelRig();
    const sent = rig.messenger.send('A', '1', { id: 'one', ttlMs: 5 });
    rig.transport.socket.open();
    expect(await sent).toEqual({ class: 'sent' });
    expect(await rig.messenger.send('A', '2')).toEqual({ class: 'sent' });
    const [frame] = rig.transport.socket.sent;
    expect(new TextDecoder().decode(frame as Uint8Array)).toBe('A\n1');
  });
});
