import { eventually, trackResources } from '@carillon/testing';
import { permissions } from '@carillon/schemas';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed, type KeyOptions, type TestFeed } from '../access/access.fixture.ts';
import { joinConsumer, type TestMember } from './consumer.fixture.ts';
import { closeAll, startTestHub, type TestHub } from '../hub.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

type Allowed = NonNullable<KeyOptions['permissions']>;
const named = (key: string): string => `{"key":"${key}"}`;
const bodies = (member: TestMember): string[] => member.deliveries().map(({ body }) => body);

async function startSite(): Promise<{ readonly feed: TestFeed; readonly hub: TestHub; readonly urlFor: (allowed: Allowed) => Promise<{ readonly url: string; readonly key: Awaited<ReturnType<TestFeed['key']>> }> }> {
  const feed = createTestFeed();
  const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
  return {
    feed, hub,
    urlFor: async (allowed) => {
      const key = await feed.key('messenger', { permissions: allowed });
      await feed.reached(hub);
      return { url: `${hub.url}/k/${key.key}`, key };
    },
  };
}

describe('the rights of a consumer\'s member', () => {
  it('cover all of its rooms, or it is none', async () => {
    const { urlFor } = await startSite();
    const session = await openSession(await urlFor({ receive: ['ITB-*'] }));
    session.say({ op: 'consume', request: 'c', name: 'billing', rooms: ['ITB-1101', 'JKB-1'] });
    expect(await session.got('error')).toMatchObject({ code: 'RECEIVE_DENIED', request: 'c', detail: 'JKB-1' });
    await joinConsumer(await urlFor({ receive: ['ITB-*'] }), 'billing', { rooms: ['ITB-*'] });
  });

  it('are asked at each delivery: what one may not have another gets', async () => {
    const { hub, urlFor } = await startSite();
    const rooms = ['ITB-*'];
    const partial = await joinConsumer(await urlFor({ receive: ['ITB-*'], deny: { receive: [{ room: 'ITB-*', event: 'secret' }] } }), 'billing', { rooms, window: 1 });
    const writer = await openSession(await urlFor({ send: ['*'], receive: ['*'] }));
    await writer.store('ITB-1101', named('secret'));
    await eventually(async () => expect(await hub.metric('carillon_hub_consumer_deliveries_total', 'denied')).toBe(1));
    // It takes no more until it has settled this.
    await writer.store('ITB-1101', named('open'));
    await partial.delivered(1);
    const full = await joinConsumer(await urlFor({ receive: ['*'] }), 'billing', { rooms });
    expect(await full.delivered(1)).toMatchObject({ body: named('secret'), attempt: 2 });
    expect([bodies(partial), bodies(full)]).toEqual([[named('open')], [named('secret')]]);
  });

  it('have an event die that no member may have, with that reason', async () => {
    const { hub, urlFor } = await startSite();
    await joinConsumer(await urlFor({ receive: ['ITB-*'], deny: { receive: [{ room: 'ITB-*', event: 'secret' }] } }), 'billing', { maxDeliveries: 1 });
    const { url, key } = await urlFor({ send: ['*'], receive: ['*'] });
    await (await openSession({ url })).store('ITB-1101', named('secret'));
    const letters = await eventually(async () => {
      const { items } = JSON.parse((await hub.call('GET', '/dead-letters', { headers: key.bearer })).text) as { readonly items: readonly { readonly reason: string }[] };
      return items.length > 0 && items;
    });
    expect(letters).toMatchObject([{ reason: 'RECEIVE_DENIED' }]);
  });

  it('end it when they are taken away, and what it had is another\'s', async () => {
    const { feed, hub, urlFor } = await startSite();
    const { url, key } = await urlFor({ send: ['*'], receive: ['*'] });
    const member = await joinConsumer({ url }, 'billing');
    const seq = await member.store('ITB-1101', '1');
    await member.delivered(1);
    await feed.change(key, { permissions: permissions.parse({ send: ['*'], receive: ['JKB-*'] }) });
    expect(await member.got('error')).toMatchObject({ code: 'RECEIVE_DENIED', request: 'c', detail: 'ITB-1101' });
    const other = await joinConsumer(await urlFor({ receive: ['*'] }), 'billing');
    expect(await other.delivered(1)).toMatchObject({ seq, attempt: 2 });
    member.say({ op: 'ack', request: 'c', seqs: [seq] });
    expect(await member.got('error', ({ code }) => code === 'REQUEST_UNKNOWN')).toMatchObject({ request: 'c' });
    await eventually(async () => expect(await hub.metric('carillon_hub_consumer_members')).toBe(1));
  });

  it('are those of the key by which it goes on', async () => {
    const { urlFor } = await startSite();
    const member = await joinConsumer(await urlFor({ send: ['*'], receive: ['*'] }), 'billing');
    const { key: wide } = await urlFor({ receive: ['ITB-*'] });
    member.say({ op: 'refresh', request: 'r', key: wide.key });
    await member.got('refreshed');
    const writer = await openSession(await urlFor({ send: ['*'] }));
    await writer.store('ITB-1101', '1');
    await member.delivered(1);
    const { key: narrow } = await urlFor({ receive: ['JKB-*'] });
    member.say({ op: 'refresh', request: 'r', key: narrow.key });
    expect(await member.got('error')).toMatchObject({ code: 'RECEIVE_DENIED', request: 'c' });
  });
});
