import type { ValidationMode } from '@carillon/schemas';
import { trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed, type TestFeed } from '../access/access.fixture.ts';
import { closeAll, codeOf, connectPeer, joinRooms, startTestHub, type TestHub, type TestPeer } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const POWER = { type: 'object', properties: { value: { enum: ['on', 'off'] } }, required: ['value'] };

async function startValidating(validation: ValidationMode): Promise<{ readonly feed: TestFeed; readonly hub: TestHub; readonly listener: TestPeer }> {
  const feed = createTestFeed();
  const hub = await startTestHub({ feedBus: feed.connect() });
  await feed.workspace('default', { validation });
  await feed.put({ type: 'event-definition', id: 'power', workspaceId: 'default', name: 'power', version: 1, schema: POWER });
  await feed.reached(hub);
  return { feed, hub, listener: await joinRooms(hub, 'A') };
}

const frame = (value: unknown, key = 'power'): string => `A\n${JSON.stringify({ key, value })}`;

describe('an event that does not fit its definition', () => {
  it.each(['messenger', 'repeater', 'hub'] as const)('is refused to a %s, which lives on, where the workspace says so', async (kind) => {
    const { hub, listener } = await startValidating('reject');
    const peer = await connectPeer(hub, kind);
    const good = [frame('on'), frame('any', 'input'), 'A\nnot json', 'A\n{}'];
    for (const each of [frame('loud'), ...good]) peer.send(each);
    await listener.got('A\n{}');
    expect(listener.frames).toEqual(good);
    await peer.heard();
    const [refusal = ''] = peer.texts;
    expect([codeOf(refusal), refusal]).toEqual(['EVENT_DEFINITION_VIOLATED', expect.stringContaining('/value') as string]);
    expect(peer.isOpen()).toBe(true);
    expect([await hub.metric('carillon_hub_events_unfit_total', 'reject'), await hub.metric('carillon_hub_refused_total', 'EVENT_DEFINITION_VIOLATED')]).toEqual([1, 1]);
  });

  it('is refused also when its name is written so that some receivers read it and some do not', async () => {
    const { hub, listener } = await startValidating('reject');
    const peer = await connectPeer(hub, 'messenger');
    const bodies = ['{"KEY":"any","key":"power"}', '{"key":"power","key":"any"}', '{"specversion":"1.0","type":"any","key":"power"}', '\ufeff{"key":"power"}', '{"key":["power"],"Key":"pow\\u0065r"}', `{${Array.from({ length: 50_000 }, (_, n) => `"key":"${n}"`).join()}}`];
    for (const body of bodies) peer.send(`A\n${body}`);
    const passing = ['A\n{"KEY":"any","key":"power","value":"on"}', 'A\n{"key":"any","key":"other"}', 'A\n\ufeff{"key":"any"}', 'A\n\ufeff'];
    for (const each of passing) peer.send(each);
    await listener.got('A\n\ufeff');
    expect(listener.frames).toEqual(passing);
    expect(await hub.metric('carillon_hub_refused_total', 'EVENT_DEFINITION_VIOLATED')).toBe(bodies.length);
  });

  it('is refused over HTTP with all its faults', async () => {
    const { hub } = await startValidating('reject');
    expect((await hub.post('A', { key: 'power', value: 'on' })).status).toBe(200);
    const answer = await hub.post('A', { key: 'power', value: 'loud' });
    expect([answer.status, answer.code]).toEqual([422, 'EVENT_DEFINITION_VIOLATED']);
    expect(JSON.parse(answer.text)).toMatchObject({ errors: [{ pointer: '/value', detail: expect.any(String) as string }] });
  });

  it('is counted and passed on unchanged where the workspace warns', async () => {
    const { hub, listener } = await startValidating('warn');
    const peer = await connectPeer(hub, 'messenger');
    for (const each of [frame('loud'), frame('on')]) peer.send(each);
    await listener.got(frame('on'));
    expect(listener.frames).toEqual([frame('loud'), frame('on')]);
    expect([await hub.metric('carillon_hub_events_unfit_total', 'warn'), peer.texts]).toEqual([1, []]);
  });

  it('is nobody\'s business where it is off; both change with the next event', async () => {
    const { feed, hub, listener } = await startValidating('off');
    const peer = await connectPeer(hub, 'messenger');
    peer.send(frame('loud'));
    await listener.got(frame('loud'));
    expect(await hub.metric('carillon_hub_events_unfit_total')).toBe(0);
    await feed.workspace('default', { validation: 'reject' });
    await feed.put({ type: 'event-definition', id: 'power', workspaceId: 'default', name: 'power', version: 2, schema: { ...POWER, required: ['value', 'level'] } });
    await feed.reached(hub);
    peer.send(frame('on'));
    await peer.heard();
    expect(codeOf(peer.texts[0] ?? '')).toBe('EVENT_DEFINITION_VIOLATED');
    await feed.remove({ type: 'event-definition', id: 'power', workspaceId: 'default', name: 'power', version: 2, schema: {} });
    await feed.reached(hub);
    peer.send(frame('anything'));
    await listener.got(frame('anything'));
  });
});
