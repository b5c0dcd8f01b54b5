import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { startChild } from './child.fixture.ts';
import { openLmdbLog } from './lmdb-log.ts';

describe('a log that cannot be written', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'log-broken-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('is away, refuses events, can be read, and is whole when it is opened again', async () => {
    const child = startChild('break-store.fixture.ts', [dir]);
    const { code, errors } = await child.ended();
    expect({ code, errors: code === 0 ? '' : errors }).toEqual({ code: 0, errors: '' });
    expect(JSON.parse(child.lines()[0] ?? '')).toEqual({ before: '1', failed: ['LOG_UNAVAILABLE', 'LOG_UNAVAILABLE'], state: 'away', states: ['away'], ids: ['one'] });

    const log = await openLmdbLog({ dir, log: { warn: () => undefined } });
    expect(log.state).toBe('open');
    expect(await log.append({ workspaceId: 'w', room: 'r', id: 'two', atMs: 0, fields: '', body: Buffer.from('two') })).toEqual({ seq: 2, class: 'stored', duplicate: false });
    const { events, gaps } = await log.read({ workspaceId: 'w', rooms: ['r'], after: 0, maxEvents: 10, maxBytes: 1_000 });
    expect([events.map(({ id }) => id), gaps]).toEqual([['one', 'two'], []]);
    await log.close();
  });
});
