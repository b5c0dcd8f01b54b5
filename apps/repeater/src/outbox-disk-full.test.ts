import { execFileSync } from 'node:child_process';

import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { createSite, eventOf, type TestRepeater } from './site.fixture.ts';

const SMALL = '3m';
const LARGE = '32m';
const POSTS_MAX = 20_000;

// A file system of a size of its own is mounted: it takes root (or CAP_SYS_ADMIN), as in a container of the pipeline.
describe('a repeater whose disk is full', { timeout: 180_000 }, () => {
  let site: ReturnType<typeof createSite>;
  let folder: string;
  let isMounted = false;
  beforeEach(async () => {
    site = createSite({ WebSocket, WebSocketServer });
    folder = await site.folder();
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SMALL}`, 'tmpfs', folder], { stdio: 'pipe' });
    } catch (cause) {
      throw new Error('This test mounts a small tmpfs, which takes root: run it as root or in a container with CAP_SYS_ADMIN.', { cause });
    }
    isMounted = true;
  });
  let repeater: TestRepeater | undefined;
  afterEach(async () => {
    await repeater?.stop();
    if (isMounted) execFileSync('umount', [folder]);
    isMounted = false;
    await site.close();
  });

  const big = (n: number): string => eventOf('R', `${n}`.padEnd(20_000, '.'));
  const post = (to: TestRepeater, n: number) => site.call(to, '/send', { method: 'POST', body: big(n) });
  const waiting = (of: TestRepeater) => of.metric('carillon_repeater_upstream_queue_frames');

  test('refuses what is posted and what devices send, says so to both, and goes on when there is room', async () => {
    repeater = await site.repeater({ CARILLON_DATA_DIR: folder });
    const device = await site.device(repeater, '/connect/R/D1');
    const kept: string[] = [];
    let refusal: Awaited<ReturnType<typeof post>> | undefined;
    for (let n = 0; refusal === undefined && n < POSTS_MAX; n += 1) {
      const answer = await post(repeater, n);
      if (answer.status === 200) kept.push(big(n));
      else refusal = answer;
    }
    expect(refusal).toMatchObject({ status: 503, code: 'UPSTREAM_QUEUE_FULL' });
    // Far from its own bound, which is 1 GiB: it is the disk that is full.
    expect(await waiting(repeater)).toBe(kept.length);
    expect(await repeater.metric('carillon_repeater_dropped_events_total', 'hub-away')).toBe(0);

    device.send(`R\n${big(POSTS_MAX)}`);
    await eventually(() => expect(device.controls).toEqual([{ op: 'error', code: 'UPSTREAM_QUEUE_FULL' }]));
    expect(await repeater.metric('carillon_repeater_refused_total', 'UPSTREAM_QUEUE_FULL')).toBe(2);
    expect(device.closed()).toBeUndefined();

    execFileSync('mount', ['-o', `remount,size=${LARGE}`, folder]);
    expect((await post(repeater, POSTS_MAX + 1)).status).toBe(200);
    await repeater.stop();
    const hub = await site.ackingHub();
    repeater = await site.repeater({ CARILLON_DATA_DIR: folder, CARILLON_REPEATER_HUB_URL: hub.url });
    await eventually(() => expect(hub.log.bodies()).toEqual([...kept, big(POSTS_MAX + 1)]));
  });
});
