import { setTimeout as sleep } from 'node:timers/promises';

import { eventually } from '@carillon/testing';

import { check, checkMemory, type Violation } from './chaos-checker.ts';
import { ChaosConsumer } from './chaos-consumer.ts';
import { ChaosReader } from './chaos-reader.ts';
import { faultsOf, scheduleOf, type Fault, type WorldKind } from './chaos-schedule.ts';
import { ChaosWorld } from './chaos-world.ts';
import { MessengerWriter, type ChaosWriter } from './chaos-writer.ts';
import { checkConsumer } from './consumer-checker.ts';
import { DeviceWriter } from './device-writer.ts';
import { ProcessWatch } from './process-watch.ts';

/**
 * Writers that number their events, readers that note what they get, and faults. After the last fault everybody writes a
 * last event; when every reader has all of those, everything flows again, and the checker looks at what was written and read.
 */
export interface ChaosOptions {
  readonly kind: WorldKind;
  readonly seed: number;
  readonly durationMs: number;
  /** How long everything may take to flow again before the run is given up. */
  readonly recoverWithinMs: number;
  /** Those that this kind of world can have; all of them by default. */
  readonly faults?: readonly Fault[];
}

export interface ChaosReport {
  readonly kind: WorldKind;
  readonly seed: number;
  readonly faults: number;
  readonly written: number;
  readonly acked: number;
  /** What writers were told, by code. */
  readonly refused: Readonly<Record<string, number>>;
  /** How often a hub said LOG_FULL, since its last start. */
  readonly logFull: number;
  readonly read: number;
  readonly gaps: number;
  /** From the last fault's end until everything flowed again. */
  readonly recoveredMs: number;
  /** To members of the consumer, and what of it ended as dead letters. */
  readonly consumed: number;
  readonly dead: number;
  /** Deliveries that members could not settle, by code. */
  readonly unsettled: Readonly<Record<string, number>>;
  /** From the last fault's end until nothing was owed to the consumer. */
  readonly consumedMs: number;
  /** The most memory that each process has had. */
  readonly largestMiB: Readonly<Record<string, number>>;
  readonly violations: readonly Violation[];
}

const ROOMS = ['CHAOS-1', 'CHAOS-2', 'CHAOS-3'];
const WRITERS = 4;
/** What a reader asks for, in turn. */
const INTERESTS = [['CHAOS-*'], ['CHAOS-1', 'CHAOS-3'], ['*']];
const READERS = 6;
const MEMBERS = 3;
/** Of every second writer's events: more than two clocks can differ that were set an hour ahead and an hour back. */
const TTL_MS = 3 * 3_600_000;
const MIB = 1_048_576;

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const faults = faultsOf(options.kind, options.faults);
  const world = await ChaosWorld.start({ ...options, faults });
  const watch = new ProcessWatch(world.processes);
  const crowd = crowdOf(world, options.seed);
  try {
    return await Promise.race([run({ ...options, faults }, { world, watch, crowd }), watch.fell]);
  } catch (error) {
    const words = world.processes.map(({ name, lastWords }) => `${name}: ${lastWords()}`);
    throw new Error([error instanceof Error ? error.message : String(error), ...words].join('\n'), { cause: error });
  } finally {
    watch.stop();
    await Promise.all([...crowd.writers, ...crowd.readers, crowd.consumer].map((one) => one.close()));
    await world.stop();
  }
}

interface Crowd {
  readonly writers: readonly ChaosWriter[];
  readonly readers: readonly ChaosReader[];
  readonly consumer: ChaosConsumer;
}

function crowdOf(world: ChaosWorld, seed: number): Crowd {
  const urlOf = (at: number): string => world.urls[at % world.urls.length] as string;
  const readers = Array.from({ length: READERS }, (_, at) => new ChaosReader(`r${at}`, at === 0 ? world.slowUrl : urlOf(at), INTERESTS[at % INTERESTS.length] ?? []));
  const writers = Array.from({ length: WRITERS }, (_, at) => new MessengerWriter(`w${at}`, { url: urlOf(at), room: ROOMS[at % ROOMS.length] ?? '', ttlMs: at % 2 === 0 ? undefined : TTL_MS }));
  const consumer = new ChaosConsumer({ urls: Array.from({ length: MEMBERS }, (_, at) => urlOf(at)), seed });
  return { readers, consumer, writers: [...writers, new DeviceWriter('d0', world.repeaterUrl, 'CHAOS-1'), new DeviceWriter('d1', world.repeaterUrl, 'CHAOS-2')] };
}

async function run({ kind, seed, durationMs, recoverWithinMs, faults }: ChaosOptions & { readonly faults: readonly Fault[] }, { world, watch, crowd }: { readonly world: ChaosWorld; readonly watch: ProcessWatch; readonly crowd: Crowd }): Promise<ChaosReport> {
  const { writers, readers, consumer } = crowd;
  await eventually(() => [...writers, ...readers, ...consumer.members].every(({ isReady }) => isReady), { timeoutMs: recoverWithinMs, what: 'everybody to be there' });
  await flows(crowd, recoverWithinMs);

  for (const writer of writers) writer.start();
  const struck = await strikeAll(world, { seed, durationMs, faults });
  const healedMs = performance.now();
  for (const writer of writers) writer.stop();
  await flows(crowd, recoverWithinMs);
  const recoveredMs = Math.round(performance.now() - healedMs);
  await eventually(() => writers.every(({ unanswered }) => unanswered === 0), { timeoutMs: recoverWithinMs, what: 'every publish to be answered' });
  await consumer.settled(world.httpUrl, recoverWithinMs);
  const consumedMs = Math.round(performance.now() - healedMs);
  const record = await consumer.record(world.httpUrl);
  const written = writers.flatMap((writer) => writer.written);
  const logs = readers.map(({ log }) => log);
  return {
    kind, seed, faults: struck, written: written.length, acked: written.filter(({ isAcked }) => isAcked).length, refused: sumOf(writers.map(({ refused }) => refused)), logFull: await world.logFullCount(),
    read: logs.reduce((sum, { events }) => sum + events.length, 0), gaps: logs.reduce((sum, { gaps }) => sum + gaps.length, 0), recoveredMs,
    consumed: consumer.deliveries, dead: record.dead.length, unsettled: sumOf(consumer.members.map(({ failures }) => failures)), consumedMs,
    largestMiB: Object.fromEntries(Object.entries(watch.largest).map(([name, bytes]) => [name, Math.round(bytes / MIB)])),
    violations: [...check(written, logs), ...checkConsumer(written, record), ...checkMemory(watch.largest)],
  };
}

/** Does what is scheduled, each in its time; resolves when all is healed, with how many faults there were. */
async function strikeAll(world: ChaosWorld, options: { readonly seed: number; readonly durationMs: number; readonly faults: readonly Fault[] }): Promise<number> {
  const begunMs = performance.now();
  let struck = 0;
  for (const scheduled of scheduleOf(options)) {
    await sleep(Math.max(0, scheduled.atMs - (performance.now() - begunMs)));
    if (world.strike(scheduled)) struck += 1;
  }
  await world.healed();
  return struck;
}

/** Everybody writes one more; resolves when whoever wants it has it. */
async function flows({ writers, readers }: Crowd, timeoutMs: number): Promise<void> {
  const marks = await Promise.all(writers.map((writer) => writer.mark()));
  await eventually(() => {
    const missing = readers.flatMap((reader) => reader.lacks(marks));
    if (missing.length > 0) throw new Error(missing.slice(0, 4).join(', '));
  }, { timeoutMs, intervalMs: 50, what: 'everybody to hear everybody' });
}

function sumOf(counts: readonly ReadonlyMap<string, number>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const each of counts) for (const [code, count] of each) sum[code] = (sum[code] ?? 0) + count;
  return sum;
}
