import { createInProcessExchange } from '@carillon/bus';
import { eventually, trackResources } from '@carillon/testing';
import { encodeFrame } from '@carillon/wire';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { joinConsumer } from '../consumers/consumer.fixture.ts';
import { closeAll, startTestHub, type TestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';
const times = ({ heard }: TestSession) => heard.flatMap((each) => (each.kind === 'event' ? [{ body: each.body, at: each.fields.at, et: each.fields.et }] : []));
const json = async <T>(hub: TestHub, path: string): Promise<T> => JSON.parse((await hub.call('GET', path)).text) as T;

interface Timed {
  readonly at: number;
  readonly et?: number;
}

describe('when an event happened', () => {
  it('is kept with it, and given to those who hear it, read it or get its page', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, repeater] = [await openSession(hub), await openSession(hub, { kind: 'repeater', hello: false })];
    await reader.subscribe('1', [ROOM]);
    await repeater.store(ROOM, '1', { at: 2_000, et: 1_000 });
    await repeater.store(ROOM, '2', { at: 2_001 });
    const said = [{ body: '1', at: 2_000, et: 1_000 }, { body: '2', at: 2_001, et: undefined }];
    await eventually(() => expect(times(reader)).toEqual(said));
    const late = await openSession(hub);
    await late.subscribe('1', [ROOM], { since: { seq: 0 } });
    await eventually(() => expect(times(late)).toEqual(said));
    const { events } = await json<{ readonly events: readonly Timed[] }>(hub, `/rooms/${ROOM}/history`);
    expect(events).toMatchObject([{ at: 2_000, et: 1_000 }, { at: 2_001 }]);
    expect('et' in (events[1] ?? {})).toBe(false);
  });

  it('is said of a live room too, by any hub of a cluster', async () => {
    const exchange = createInProcessExchange();
    const [one, two] = [await startTestHub({ bus: exchange.connect() }), await startTestHub({ bus: exchange.connect() })];
    const [here, there, repeater] = [await openSession(one), await openSession(two), await openSession(one, { kind: 'repeater', hello: false })];
    for (const reader of [here, there]) {
      reader.say({ op: 'subscribe', request: '1', rooms: [ROOM] });
      await reader.got('subscribed');
    }
    let sent = 0;
    // Until the other hub has heard that somebody there wants the room.
    await eventually(() => {
      repeater.publish(ROOM, '1', { id: `live-${(sent += 1)}`, et: 1_000 });
      return times(here).length > 0 && times(there).length > 0;
    });
    expect([times(here)[0]?.et, times(there)[0]?.et]).toEqual([1_000, 1_000]);
  });

  it('outlives a delay', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    writer.publish(ROOM, '1', { id: 'later', delay: 50, et: 1_000 });
    await eventually(() => expect(times(reader)).toMatchObject([{ body: '1', et: 1_000 }]));
    expect(times(reader)[0]?.at).toBeGreaterThan(1_000);
  });

  it('comes with a delivery, and stays with a dead letter', async () => {
    const hub = await startTestHub({ log: true });
    const member = await joinConsumer(hub, 'billing');
    const seq = await member.store(ROOM, '1', { et: 1_000 });
    await member.delivered(1);
    expect(times(member)[0]?.et).toBe(1_000);
    await member.settled({ op: 'discard', seqs: [seq] });
    const { items } = await json<{ readonly items: readonly { readonly event: Timed }[] }>(hub, '/dead-letters');
    expect(items).toMatchObject([{ event: { et: 1_000 } }]);
  });

  it('is a malformed frame when it is no whole number', async () => {
    const hub = await startTestHub({ log: true });
    const writer = await openSession(hub);
    writer.publishRaw(encodeFrame(ROOM, '1', '\tid=x\tet=now'));
    expect(await writer.ended).toMatchObject({ reason: expect.stringContaining('TAG_LINE_INVALID') as string });
  });
});
