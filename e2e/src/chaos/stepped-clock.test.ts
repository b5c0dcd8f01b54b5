import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually, spawnService, stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { SteppedClock } from './stepped-clock.ts';

const HOUR_MS = 3_600_000;
/** What lies between two readings of a clock on a machine that is busy. */
const SLACK_MS = 30_000;
const TELL = `setInterval(() => console.log(JSON.stringify({
  now: Date.now(), made: new Date().getTime(), said: Date.parse(Date()), given: new Date(5).getTime(), steady: performance.timeOrigin + performance.now(), isDate: new Date() instanceof Date,
})), 20)`;

let folder: string;
let released: ReturnType<typeof trackResources>;
beforeEach(async () => {
  released = trackResources();
  folder = await mkdtemp(join(tmpdir(), 'stepped-clock-'));
});
afterEach(async () => {
  await stopAll();
  await rm(folder, { recursive: true, force: true });
  await released();
});

interface Told {
  readonly now: number;
  readonly made: number;
  readonly said: number;
  readonly given: number;
  readonly steady: number;
  readonly isDate: boolean;
}

describe('the clock of a process', () => {
  it('is ahead or behind by what it is told, and right again, while time goes on steadily', async () => {
    const clock = new SteppedClock(join(folder, 'clock'));
    const service = await spawnService({ command: [process.execPath, '-e', TELL], env: clock.env, readyWhen: /now/ });
    for (const aheadMs of [HOUR_MS, -HOUR_MS, 0]) {
      clock.step(aheadMs, service);
      await eventually(() => {
        const told = service.logs().at(-1) as unknown as Told;
        for (const time of [told.now, told.made, told.said]) expect(Math.abs(time - told.steady - aheadMs)).toBeLessThan(SLACK_MS);
        expect([told.given, told.isDate]).toEqual([5, true]);
        expect(Math.abs(told.steady - Date.now())).toBeLessThan(SLACK_MS);
      });
    }
  });

  it('keeps its step when the process is started again', async () => {
    const clock = new SteppedClock(join(folder, 'clock'));
    clock.step(HOUR_MS, { kill: () => undefined });
    const service = await spawnService({ command: [process.execPath, '-e', TELL], env: clock.env, readyWhen: /now/ });
    const { now, steady } = service.logs()[0] as unknown as Told;
    expect(now - steady).toBeGreaterThan(HOUR_MS - SLACK_MS);
  });
});
