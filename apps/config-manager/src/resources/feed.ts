import { z } from 'zod';

import type { Hubs } from '../feed/hubs.ts';
import { route, type Route } from '../http/route.ts';

const position = z.int().min(0);
const feedStatus = z
  .object({
    head: position.meta({ description: 'Position of the latest change' }),
    published: position.meta({ description: 'Position up to which hubs could have everything' }),
    hubs: z.array(
      z.object({
        hub: z.string(), name: z.string(),
        seq: position.meta({ description: 'Position it has applied' }), behind: position.meta({ description: 'Positions it has yet to apply' }),
        lastHeardAt: z.iso.datetime(),
      }),
    ).meta({ description: 'Those heard of in the last half minute' }),
  })
  .meta({ id: 'FeedStatus' });
const republished = z.object({ records: z.int().min(0).meta({ description: 'How many will be put again' }) }).meta({ id: 'FeedRepublished' });

/** How far configuration has come on its way to the hubs, and a way to send it again. */
export function feedRoutes({ hubs }: { readonly hubs: Pick<Hubs, 'list'> }): readonly Route[] {
  return [
    route({
      method: 'GET', path: '/feed', name: 'getFeed', summary: 'Read how far hubs have followed the configuration', tag: 'Feed', access: 'administrator',
      answer: { status: 200, schema: feedStatus, description: 'Positions of the feed and of each hub' },
      handle: async ({ store }) => {
        const head = await store.feed.head();
        const [oldest] = await store.feed.pending(1);
        const published = oldest === undefined ? head : Math.min(head, oldest.record.seq - 1);
        return {
          body: {
            head, published,
            hubs: hubs.list().map(({ hub, name, seq, lastHeardAtMs }) => ({ hub, name, seq, behind: Math.max(0, head - seq), lastHeardAt: new Date(lastHeardAtMs).toISOString() })),
          },
        };
      },
    }),
    route({
      method: 'POST', path: '/feed/republish', name: 'republishFeed', summary: 'Send the whole configuration to hubs again', tag: 'Feed', access: 'administrator',
      answer: { status: 200, schema: republished, description: 'It is under way' },
      handle: async (call) => {
        const records = await call.change({ action: 'feed.republish', workspaceId: null, resource: () => ({ kind: 'feed', id: null, name: null }), after: (count) => ({ records: count }) }, (tx) => tx.feed.again());
        return { body: { records } };
      },
    }),
  ];
}
