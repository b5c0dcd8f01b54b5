import { startNatsServer, stopAll } from '@carillon/testing';
import { afterEach, expect, it } from 'vitest';

import { askServer } from './jetstream-api.fixture.ts';
import { dial } from './jetstream-dial.ts';
import { JetStreamLink } from './jetstream-link.ts';
import { isDeleted } from './jetstream-lookup.ts';
import { openStream } from './jetstream-stream.ts';
import { openJetStreamLog } from './jetstream-log.ts';
import { anEvent, appendAll, numbered } from './log-world.conformance.ts';

const nothing = () => undefined;

afterEach(stopAll);

it('takes for deleted what a server had and has no more, and not what it may not have heard of yet', async () => {
  const server = await startNatsServer({ jetstream: true });
  const log = openJetStreamLog({ servers: [server.url], name: 'lookup' });
  await log.bounds();
  await appendAll(log, 'a', numbered(6));
  const connection = await dial([server.url], { name: 'lookup', credentials: {}, signal: new AbortController().signal });
  const link = new JetStreamLink(connection, { timeoutMs: 5_000, warn: nothing });
  const stream = await openStream(link, { settings: { stream: 'CARILLON', replicas: undefined, duplicateWindowMs: 600_000, streamMaxBytes: -1 }, epoch: undefined, mayRecreate: false, log: nothing });
  const deletedOf = (...seqs: readonly number[]): Promise<readonly boolean[]> => Promise.all(seqs.map((seq) => isDeleted(stream, seq)));
  const remove = (seq: number): Promise<unknown> => askServer(server, '$JS.API.STREAM.MSG.DELETE.CARILLON', { body: JSON.stringify({ seq }) });

  expect(await deletedOf(1, 6, 7)).toEqual([false, false, false]);
  await remove(3);
  await remove(6);
  expect(await deletedOf(2, 3, 5, 6, 7)).toEqual([false, true, false, true, false]);
  await askServer(server, '$JS.API.STREAM.PURGE.CARILLON');
  expect(await deletedOf(1, 6, 7)).toEqual([true, true, false]);
  await log.append(anEvent({ room: 'a' }));
  expect(await deletedOf(6, 7, 8)).toEqual([true, false, false]);

  await link.close();
  await log.close();
});
