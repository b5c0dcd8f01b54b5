import { parseFrame, type TagFields } from '@carillon/wire';
import { describe, expect, it } from 'vitest';
import { answered, fates } from './deliveries.test.fixture.ts';
import { turn } from './fakes.test.fixture.ts';
import { ModelHub } from './model-hub.test.fixture.ts';
import { joinedRig, ModelRig } from './model-rig.test.fixture.ts';
import type { ReceivedEvent } from './received-event.ts';
import { REPLIES_MAX } from './replies.ts';

/** The fields of the last event that was sent. */
function lastFields(rig: ModelRig): TagFields {
  const parsed = parseFrame(rig.transport.socket.sent.findLast((frame): frame is Uint8Array => typeof frame !== 'string') ?? new Uint8Array(), 2);
  if (!parsed.ok) throw new Error(parsed.code);
  return parsed.fields;
}

/** Two messengers at one hub; the second keeps the requests that it hears in room A. */
async function pair(): Promise<{ readonly asker: ModelRig; readonly replier: ModelRig; readonly heard: ReceivedEvent[] }> {
  const hub = new ModelHub();
  const asker = await joinedRig({}, hub, 0.25);
  const replier = await joinedRig({}, hub);
  const heard: ReceivedEvent[] = [];
  replier.messenger.subscribe('A', (event) => heard.push(event));
  await replier.settle();
  return { asker, replier, heard };
}

describe('a request', () => {
  it('R1: resolves with the reply, which nobody else hears', async () => {
    const { asker, replier, heard } = await pair();
    let others = 0;
    asker.messenger.subscribe('*', () => (others += 1));
    const reply = asker.messenger.request<{ sum: number }>('A', '{"a":1}', { timeoutMs: 2_500.5, id: 'one' });
    await asker.settle();
    expect(lastFields(asker)).toMatchObject({ id: 'one', ttl: 2_501, rt: 'inbox-1' });
    await replier.settle();
    const published = replier.messenger.reply(heard[0]!, '{"sum":1}');
    await answered(replier);
    await asker.settle();
    expect(await published).toMatchObject({ class: 'live' });
    const event = await reply;
    expect([event.json(), event.room, event.from === heard[0]?.from, others]).toEqual([{ sum: 1 }, 'A', false, 0]);
    expect(lastFields(replier)).toMatchObject({ to: 'inbox-1', cid: 'one' });
  });

  it('R1: goes again with its id and the inbox of the new connection, if it was not answered', async () => {
    const { asker, replier, heard } = await pair();
    const reply = asker.messenger.request('A', 'ask', { id: 'one' });
    await turn();
    asker.cut();
    asker.clock.advance(4_000);
    asker.join();
    await asker.settle();
    await replier.settle();
    expect([heard.map(({ replyTo, id }) => [replyTo, id])]).toEqual([[['inbox-3', 'one']]]);
    void replier.messenger.reply(heard[0]!, 'yes');
    await replier.settle();
    await asker.settle();
    expect((await reply).text()).toBe('yes');
  });

  it('R1: whose connection is lost after its ack gets no reply', async () => {
    const { asker, replier, heard } = await pair();
    const reply = fates([asker.messenger.request('A', 'ask')]);
    await answered(asker);
    await asker.rejoin();
    await replier.settle();
    const refused = fates([replier.messenger.reply(heard[0]!, 'yes')]);
    await answered(replier);
    expect(refused).toEqual([expect.objectContaining({ code: 'REPLY_UNDELIVERABLE' })]);
    asker.clock.advance(6_000);
    await turn();
    expect(reply).toEqual([expect.objectContaining({ code: 'REPLY_TIMEOUT' })]);
    expect(asker.hub.log).toHaveLength(1);
  });

  it('R2 R3: takes the first reply; later ones are nothing to anybody', async () => {
    const { asker, replier, heard } = await pair();
    let others = 0;
    asker.messenger.subscribe('*', () => (others += 1));
    const reply = asker.messenger.request('A', 'ask');
    await asker.settle();
    await replier.settle();
    for (const body of ['first', 'second']) void replier.messenger.reply(heard[0]!, body);
    await replier.settle();
    await asker.settle();
    expect([(await reply).text(), others, asker.errors]).toEqual(['first', 0, []]);
    expect(asker.messenger.state.queuedBytes).toBeGreaterThan(0);
    await asker.rejoin();
    expect([asker.hub.log.length, asker.messenger.state.queuedBytes]).toEqual([1, 0]);
  });

  it('R3: that nobody waits for any more is not sent', async () => {
    const rig = await joinedRig({}, { publishesMax: 1 });
    const abort = new AbortController();
    rig.messenger.send('A', 'before').catch(() => undefined);
    const known = fates([rig.messenger.request('A', 'late', { timeoutMs: 500 }), rig.messenger.request('A', 'gone', { signal: abort.signal })]);
    await rig.settle();
    abort.abort();
    rig.clock.advance(500);
    await turn();
    expect(known).toEqual([expect.objectContaining({ code: 'REPLY_TIMEOUT' }), expect.objectContaining({ code: 'ABORTED' })]);
    await answered(rig);
    expect([rig.hub.log.map(({ body }) => body), rig.messenger.state.queuedBytes]).toEqual([['before'], 0]);
  });

  it('rejects with the refusal of its publish, or the end of its messenger', async () => {
    const rig = await joinedRig({}, { refuse: (id) => (id === 'bad' ? 'SEND_DENIED' : undefined) });
    const known = fates([rig.messenger.request('A', 'x', { id: 'bad' }), rig.messenger.request('A', 'x'), rig.messenger.request('', 'x'), rig.messenger.request('A', 'x', { signal: AbortSignal.abort() })]);
    await answered(rig);
    expect(known).toMatchObject([{ code: 'SEND_DENIED' }, 'waits', { code: 'ROOM_NAME_INVALID' }, { code: 'ABORTED' }]);
    void rig.messenger.close();
    await turn();
    expect(known[1]).toMatchObject({ code: 'MESSENGER_CLOSED' });
    await expect(rig.messenger.request('A', 'x')).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
    await expect(rig.messenger.request('A', 'x', { timeoutMs: 0 })).rejects.toThrow(RangeError);
  });

  it('R5: is one of a bounded number, and alone with its id', async () => {
    const rig = new ModelRig({ outboundMaxBytes: 1_000_000 });
    const known = fates(Array.from({ length: REPLIES_MAX }, (_, index) => rig.messenger.request('A', 'x', { id: `id-${index}` })));
    await expect(rig.messenger.request('A', 'x', { id: 'id-7' })).rejects.toMatchObject({ code: 'REQUEST_IN_USE' });
    await expect(rig.messenger.request('A', 'x')).rejects.toMatchObject({ code: 'REQUESTS_EXCEEDED' });
    void rig.messenger.close();
    await turn();
    expect(new Set(known.map((fate) => (typeof fate === 'object' ? fate.code : fate)))).toEqual(new Set(['MESSENGER_CLOSED']));
    expect(rig.clock.timers).toBeLessThanOrEqual(1);
  });
});

describe('a reply', () => {
  it('is to a request only', async () => {
    const { asker, replier, heard } = await pair();
    void asker.messenger.send('A', 'no request');
    await asker.settle();
    await replier.settle();
    await expect(replier.messenger.reply(heard[0]!, 'x')).rejects.toMatchObject({ code: 'EVENT_INVALID' });
  });

  it('rejects what the tag line cannot say', async () => {
    const rig = await joinedRig();
    const event = { room: 'A', id: 'one', replyTo: 'no inbox\tat all' } as ReceivedEvent;
    await expect(rig.messenger.reply(event, 'x')).rejects.toMatchObject({ code: 'TAG_LINE_INVALID' });
  });
});

describe('a publish with a delay', () => {
  it('resolves when it is kept, without a place, and comes later', async () => {
    const rig = await joinedRig();
    const sent = rig.messenger.send('A', 'later', { delayMs: 60_000, id: 'one' });
    await answered(rig);
    expect(await sent).toEqual({ class: 'stored', id: 'one', seq: 0 });
    expect([lastFields(rig), rig.hub.log]).toEqual([{ id: 'one', delay: 60_000 }, []]);
    for (const { fire } of rig.hub.delayed) fire();
    expect(rig.hub.log.map(({ id, body }) => [id, body])).toEqual([['one', 'later']]);
    await expect(rig.messenger.send('A', 'x', { delayMs: 0.5 })).rejects.toMatchObject({ code: 'TAG_LINE_INVALID' });
  });
});

describe('what the first protocol cannot say', () => {
  it('R4: is refused, at once or when its turn comes, and the others go', async () => {
    const event = { room: 'A', id: 'one', replyTo: 'inbox' } as ReceivedEvent;
    const all = ({ messenger }: ModelRig): Promise<unknown>[] => [messenger.send('A', 'x', { delayMs: 1 }), messenger.request('A', 'x'), messenger.reply(event, 'x'), messenger.send('A', 'plain')];
    const rig = new ModelRig();
    const early = fates(all(rig));
    rig.transport.socket.open();
    const late = fates(all(rig));
    await turn();
    const expected = [{ code: 'DELAY_INVALID' }, { code: 'REPLIES_ABSENT' }, { code: 'REPLY_UNDELIVERABLE' }, 'kept'];
    expect(early).toMatchObject(expected);
    expect(late).toMatchObject(expected);
    expect([rig.transport.socket.transcript, rig.messenger.state.queuedBytes]).toEqual([['A plain', 'A plain'], 0]);
  });

  it('R4: is refused by a hub that gives no inbox, too, as far as it needs one', async () => {
    const rig = await joinedRig({}, { givesInboxes: false });
    await expect(rig.messenger.request('A', 'x')).rejects.toMatchObject({ code: 'REPLIES_ABSENT' });
    expect(rig.messenger.state.queuedBytes).toBe(0);
  });
});
