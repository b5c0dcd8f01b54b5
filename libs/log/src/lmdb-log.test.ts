import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { trackResources } from '@carillon/testing';
import { afterAll, beforeAll, describe } from 'vitest';

import type { EventLog } from './event-log.ts';
import { describeEventLog } from './event-log.conformance.ts';
import { CONFORMANCE_LIMITS } from './log-world.conformance.ts';
import { openLmdbLog } from './lmdb-log.ts';

describe('in directories of its own', () => {
  let root: string;
  let released: ReturnType<typeof trackResources>;
  const dirs = new Map<EventLog, string>();
  beforeAll(async () => {
    released = trackResources();
    root = await mkdtemp(join(tmpdir(), 'log-'));
  });
  afterAll(async () => {
    await rm(root, { recursive: true, force: true });
    await released();
  });
  const open = async (dir: string): Promise<EventLog> => {
    const log = await openLmdbLog({ dir, log: { warn: () => undefined }, ...CONFORMANCE_LIMITS });
    dirs.set(log, dir);
    return log;
  };

  describeEventLog('openLmdbLog', () => ({
    fresh: async () => open(await mkdtemp(join(root, 'fresh-'))),
    reopen: async (log) => {
      await log.close();
      return open(dirs.get(log) ?? '');
    },
  }));
});
