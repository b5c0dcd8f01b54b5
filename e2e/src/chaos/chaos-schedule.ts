import { pick, seededRandom } from '../seeded-random.ts';

/** What a run does to its world, and when; the same for the same seed and faults. */
export const FAULTS = [
  'kill-hub', 'freeze-hub', 'kill-log-server', 'freeze-log-server', 'cut-clients', 'stall-clients', 'slow-reader', 'kill-repeater', 'freeze-repeater',
  'partition-log-server', 'full-disk', 'step-clock', 'dead-peers',
] as const;

export type Fault = (typeof FAULTS)[number];

/**
 * What faults are done to: hubs behind proxies that messengers connect through, and a repeater that devices send to.
 *
 *   embedded  one hub with its log in the process
 *   cluster   two hubs on three nats-servers that keep every event three times
 */
export const WORLDS = ['embedded', 'cluster'] as const;

export type WorldKind = (typeof WORLDS)[number];

export interface ScheduledFault {
  readonly atMs: number;
  readonly fault: Fault;
  /** Which of the hubs, servers, proxies or readers, and how where there are several ways. */
  readonly target: number;
  /** How long it lasts; a killed process is started again after it. */
  readonly forMs: number;
}

export interface ScheduleOptions {
  readonly seed: number;
  readonly durationMs: number;
  /** Faults to choose from; another order is another schedule. */
  readonly faults: readonly Fault[];
}

const PAUSE_MIN_MS = 500;
const PAUSE_MAX_MS = 3_000;
const FAULT_MIN_MS = 200;
const FAULT_MAX_MS = 3_000;
/** Of those that a short time does not show. */
const LONGER_MAX_MS: Partial<Record<Fault, number>> = {
  // A server that is parted is missed after 4 to 9 s.
  'partition-log-server': 12_000,
  'full-disk': 6_000,
  'step-clock': 6_000,
  'dead-peers': 12_000,
};
const TARGETS = 1_000_000;

/** Of the faults that are wanted, those that a world can have. */
export function faultsOf(kind: WorldKind, wanted: readonly Fault[] = FAULTS): readonly Fault[] {
  return wanted.filter((fault) => kind === 'cluster' || !fault.endsWith('log-server'));
}

/** One fault after the other, sometimes two that overlap. */
export function scheduleOf({ seed, durationMs, faults }: ScheduleOptions): readonly ScheduledFault[] {
  const random = seededRandom(seed);
  const between = (least: number, most: number): number => Math.round(least + random() * (most - least));
  const scheduled: ScheduledFault[] = [];
  for (let atMs = between(PAUSE_MIN_MS, PAUSE_MAX_MS); atMs < durationMs; atMs += between(PAUSE_MIN_MS, PAUSE_MAX_MS)) {
    const fault = pick(faults, random);
    scheduled.push({ atMs, fault, target: between(0, TARGETS), forMs: between(FAULT_MIN_MS, LONGER_MAX_MS[fault] ?? FAULT_MAX_MS) });
  }
  return scheduled;
}
