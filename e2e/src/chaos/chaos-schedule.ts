import { pick, seededRandom } from '../seeded-random.ts';

/** What a run does to its world, and when; the same for the same seed. */
export const FAULTS = ['kill-hub', 'freeze-hub', 'kill-log-server', 'freeze-log-server', 'cut-clients', 'stall-clients', 'slow-reader', 'kill-repeater', 'freeze-repeater'] as const;

export type Fault = (typeof FAULTS)[number];

export interface ScheduledFault {
  readonly atMs: number;
  readonly fault: Fault;
  /** Which of the hubs, servers, proxies or readers. */
  readonly target: number;
  /** How long it lasts; a killed process is started again after it. */
  readonly forMs: number;
}

export interface ScheduleOptions {
  readonly seed: number;
  readonly durationMs: number;
  /** Faults that this world can have. */
  readonly faults: readonly Fault[];
}

const PAUSE_MIN_MS = 500;
const PAUSE_MAX_MS = 3_000;
const FAULT_MIN_MS = 200;
const FAULT_MAX_MS = 3_000;
const TARGETS = 1_000_000;

/** One fault after the other, sometimes two that overlap. */
export function scheduleOf({ seed, durationMs, faults }: ScheduleOptions): readonly ScheduledFault[] {
  const random = seededRandom(seed);
  const between = (least: number, most: number): number => Math.round(least + random() * (most - least));
  const scheduled: ScheduledFault[] = [];
  for (let atMs = between(PAUSE_MIN_MS, PAUSE_MAX_MS); atMs < durationMs; atMs += between(PAUSE_MIN_MS, PAUSE_MAX_MS)) {
    scheduled.push({ atMs, fault: pick(faults, random), target: between(0, TARGETS), forMs: between(FAULT_MIN_MS, FAULT_MAX_MS) });
  }
  return scheduled;
}
