import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openLmdbLog, type EventLog } from '@carillon/log';

/**
 * What the embedded log costs: events appended by pipelined publishers, each ack after its fsync, then all read back in pages. The log is in
 * this process, as it is in a hub's; time and CPU are the whole process's, so what the publishers cost counts too.
 */
export interface DurableAppendResult {
  readonly publishers: number;
  /** Unacked events of one publisher. */
  readonly inFlight: number;
  readonly eventBytes: number;
  /** Acked and fsynced, of the median round. */
  readonly ackedPerSecond: number;
  readonly cpuMicrosPerEvent: number;
  readonly readPerSecond: number;
  /** Of one event at a time: what an fsync costs here. */
  readonly aloneP50Ms: number;
  /** Acked and not there when it was read back. */
  readonly lost: number;
}

const PUBLISHERS = 50;
const IN_FLIGHT = 20;
const ROOMS = 100;
const ROUNDS = 3;
const EVENTS_PER_ROUND = 100_000;
const WARM_EVENTS = 10_000;
const ALONE_EVENTS = 200;
const PAGE_MAX_EVENTS = 512;
const PAGE_MAX_BYTES = 4_194_304;
const WORKSPACE = 'bench';

export async function measureDurableAppend(eventBytes: number): Promise<DurableAppendResult> {
  const dir = await mkdtemp(join(tmpdir(), 'carillon-bench-'));
  const log = await openLmdbLog({ dir, log: { warn: () => undefined } });
  try {
    const body = Buffer.alloc(eventBytes, 'x');
    await appendRound(log, { events: WARM_EVENTS, name: 'warm', body });
    const rounds: { readonly ackedPerSecond: number; readonly cpuMicrosPerEvent: number }[] = [];
    for (let round = 0; round < ROUNDS; round += 1) rounds.push(await appendRound(log, { events: EVENTS_PER_ROUND, name: `${round}`, body }));
    const aloneP50Ms = await appendAlone(log, body);
    const startedMs = performance.now();
    const read = await readAll(log);
    const readPerSecond = Math.round(read / ((performance.now() - startedMs) / 1_000));
    const median = rounds.sort((left, right) => left.ackedPerSecond - right.ackedPerSecond)[Math.floor(ROUNDS / 2)] as (typeof rounds)[number];
    return { publishers: PUBLISHERS, inFlight: IN_FLIGHT, eventBytes, ...median, readPerSecond, aloneP50Ms, lost: WARM_EVENTS + ROUNDS * EVENTS_PER_ROUND + ALONE_EVENTS - read };
  } finally {
    await log.close();
    await rm(dir, { recursive: true, force: true });
  }
}

interface Round {
  readonly events: number;
  readonly name: string;
  readonly body: Buffer;
}

async function appendRound(log: EventLog, { events, name, body }: Round): Promise<{ readonly ackedPerSecond: number; readonly cpuMicrosPerEvent: number }> {
  let next = 0;
  const publish = async (): Promise<void> => {
    while (next < events) {
      const number = (next += 1);
      await log.append({ workspaceId: WORKSPACE, room: `room-${number % ROOMS}`, id: `${name}-${String(number).padStart(20, '0')}`, atMs: Date.now(), fields: '', body });
    }
  };
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: PUBLISHERS * IN_FLIGHT }, publish));
  const { user, system } = process.cpuUsage(cpu);
  return { ackedPerSecond: Math.round(events / ((performance.now() - startedMs) / 1_000)), cpuMicrosPerEvent: Math.round(((user + system) / events) * 10) / 10 };
}

async function appendAlone(log: EventLog, body: Buffer): Promise<number> {
  const tookMs: number[] = [];
  for (let number = 0; number < ALONE_EVENTS; number += 1) {
    const startedMs = performance.now();
    await log.append({ workspaceId: WORKSPACE, room: 'alone', id: `alone-${number}`, atMs: Date.now(), fields: '', body });
    tookMs.push(performance.now() - startedMs);
  }
  return Math.round((tookMs.sort((left, right) => left - right)[ALONE_EVENTS / 2] ?? 0) * 100) / 100;
}

async function readAll(log: EventLog): Promise<number> {
  let events = 0;
  for (let after = 0, isLast = false; !isLast; ) {
    const page = await log.read({ workspaceId: WORKSPACE, rooms: ['*'], after, maxEvents: PAGE_MAX_EVENTS, maxBytes: PAGE_MAX_BYTES });
    events += page.events.length;
    ({ next: after, isLast } = page);
  }
  return events;
}
