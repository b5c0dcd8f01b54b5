import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, joinRooms, startTestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';
const seqsOf = ({ heard }: TestSession): number[] => heard.flatMap((each) => (each.kind === 'event' ? [each.fields.seq ?? 0] : []));

describe('a durable room', () => {
  it('greets with what it keeps', async () => {
    const hub = await startTestHub({ log: true });
    const session = await openSession(hub, { session: 'me' });
    const [welcome] = session.all('welcome');
    expect(welcome).toMatchObject({ session: 'me', class: 'stored', limits: { publishesMax: 4_096 } });
    expect(welcome?.epoch).toMatch(/./);
  });

  it('acks what is stored, with its place, and delivers it in that order to both protocols', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, old, writer] = [await openSession(hub), await joinRooms(hub, 'ITB-*'), await openSession(hub)];
    await reader.subscribe('1', ['ITB-*']);
    const seqs = await Promise.all(['a', 'b', 'c'].map((body, at) => writer.store(ROOM, body, { id: `id-${at}` })));
    expect(seqs).toEqual([...seqs].sort((left, right) => left - right));
    await eventually(() => expect(reader.bodies()).toEqual(['a', 'b', 'c']));
    expect(seqsOf(reader)).toEqual(seqs);
    expect(old.frames).toEqual(['a', 'b', 'c'].map((body) => `${ROOM}\n${body}`));
    expect(await hub.metric('carillon_hub_events_stored_total')).toBe(3);
  });

  it('stores an event that is sent again once, and says where', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    const seq = await writer.store(ROOM, 'once', { id: 'x' });
    writer.heard.length = 0;
    expect(await writer.store(ROOM, 'once', { id: 'x' })).toBe(seq);
    await writer.store(ROOM, 'end');
    await eventually(() => expect(reader.bodies()).toEqual(['once', 'end']));
  });

  it('refuses an id with another body, an event without one, and whoever has not said hello', async () => {
    const hub = await startTestHub({ log: true });
    const writer = await openSession(hub);
    await writer.store(ROOM, 'one', { id: 'x' });
    writer.publish(ROOM, 'other', { id: 'x' });
    expect(await writer.got('error')).toMatchObject({ code: 'EVENT_ID_REUSED', request: 'x' });
    writer.publish(ROOM, 'none');
    expect(await writer.got('error', ({ code }) => code === 'EVENT_ID_MISSING')).toBeTruthy();
    const silent = await openSession(hub, { hello: false });
    silent.publish(ROOM, 'x', { id: 'y' });
    expect(await silent.got('error')).toMatchObject({ code: 'HELLO_REQUIRED', request: 'y' });
    silent.say({ op: 'subscribe', request: '1', rooms: [ROOM] });
    await eventually(() => expect(silent.all('error').map(({ code }) => code)).toEqual(['HELLO_REQUIRED', 'HELLO_REQUIRED']));
  });

  it('takes part with senders of the first protocol, who do not hear themselves', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, old] = [await openSession(hub), await joinRooms(hub, ROOM)];
    await reader.subscribe('1', [ROOM]);
    old.send(`${ROOM}\nfrom v1`);
    await eventually(() => expect(reader.bodies()).toEqual(['from v1']));
    await reader.store(ROOM, 'from v2');
    await old.got(`${ROOM}\nfrom v2`);
    expect(old.frames).toEqual([`${ROOM}\nfrom v2`]);
    expect(reader.bodies()).toEqual(['from v1']);
  });

  it('is given to one repeater and every link when it is stored', async () => {
    const hub = await startTestHub({ log: true });
    const [one, other] = [await connectPeer(hub, 'repeater'), await connectPeer(hub, 'repeater')];
    const link = await connectPeer(hub, 'hub');
    const writer = await openSession(hub);
    await writer.store(ROOM, 'a');
    await writer.store(ROOM, 'b');
    await eventually(() => expect([...one.frames, ...other.frames].sort()).toEqual([`${ROOM}\na`, `${ROOM}\nb`]));
    await eventually(() => expect(link.frames).toEqual([`${ROOM}\na`, `${ROOM}\nb`]));
    one.send(`${ROOM}\nup`);
    await link.got(`${ROOM}\nup`);
    expect(other.frames).not.toContain(`${ROOM}\nup`);
  });

  it('is kept over a restart', async () => {
    const hub = await startTestHub({ log: true });
    const writer = await openSession(hub);
    const first = await writer.store(ROOM, 'before');
    const [welcome] = writer.all('welcome');
    await hub.stop();
    const again = await startTestHub({ log: true, dataDir: hub.dataDir });
    const reader = await openSession(again);
    expect(reader.all('welcome')[0]?.epoch).toBe(welcome?.epoch);
    await reader.subscribe('1', [ROOM], { since: { seq: first - 1, epoch: welcome?.epoch ?? '' } });
    expect(reader.bodies('1')).toEqual(['before']);
  });

  it('is live where its policy or the hub says so, and then acked as that', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_DEFAULT_LANE: 'live' } });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    expect(await writer.store(ROOM, 'now', { id: 'l' })).toBe(0);
    expect(writer.all('published')[0]?.class).toBe('live');
    await eventually(() => expect(reader.bodies()).toEqual(['now']));
    expect(seqsOf(reader)).toEqual([0]);
    writer.heard.length = 0;
    await writer.store(ROOM, 'now', { id: 'l' });
    await writer.store(ROOM, 'end');
    await eventually(() => expect(reader.bodies()).toEqual(['now', 'end']));
  });

  it('acks a repeater that speaks the second protocol', async () => {
    const hub = await startTestHub({ log: true });
    const reader = await openSession(hub);
    await reader.subscribe('1', [ROOM]);
    const repeater = await openSession(hub, { kind: 'repeater', hello: false });
    expect(await repeater.store(ROOM, 'up', { id: 'r1' })).toBeGreaterThan(0);
    await eventually(() => expect(reader.bodies()).toEqual(['up']));
  });

  it('keeps the order of a publisher: behind one that is refused for now the others are too, until one of them comes again', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_ACCESS: 'open' } });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    const most = 4_096;
    for (let n = 0; n < most + 50; n += 1) writer.publish(ROOM, `${n}`, { id: `n${n}` });
    const answers = (): number => writer.all('published').reduce((sum, { events }) => sum + events.length, 0) + writer.all('error').length;
    await eventually(() => expect(answers()).toBe(most + 50));
    const refused = writer.all('error').map(({ request = '' }) => Number(request.slice(1)));
    // How many are depends on how fast it stores; those that are follow each other to the last.
    expect(refused).toEqual(Array.from({ length: refused.length }, (_, at) => most + 50 - refused.length + at));
    for (const n of refused) await writer.store(ROOM, `${n}`, { id: `n${n}` });
    await eventually(() => expect(reader.bodies().map(Number)).toEqual(Array.from({ length: most + 50 }, (_, n) => n)));
  });

  it('takes a frame as large as the first protocol may have, with its id on top', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_FRAME_MAX_BYTES: '2048' } });
    const [old, writer] = [await joinRooms(hub, ROOM), await openSession(hub)];
    const largest = 'x'.repeat(2_048 - ROOM.length - 1);
    await writer.store(ROOM, largest);
    await old.got(`${ROOM}\n${largest}`);
    writer.publish(ROOM, `${largest}x`, { id: 'large' });
    expect(await writer.got('error')).toMatchObject({ code: 'FRAME_TOO_LARGE', request: 'large' });
    await writer.store(ROOM, 'still here');
  });
});
