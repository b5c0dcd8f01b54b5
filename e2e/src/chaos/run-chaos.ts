import { setTimeout as sleep } from 'node:timers/promises';

import { connect, type Messenger } from '@carillon/messenger';
import { eventually } from '@carillon/testing';

import { check, type ReadEvent, type ReadGap, type ReaderLog, type Violation, type WrittenEvent } from './chaos-checker.ts';
import { scheduleOf } from './chaos-schedule.ts';
import { ChaosWorld, type WorldKind } from './chaos-world.ts';
import { DeviceWriter } from './device-writer.ts';

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
}

export interface ChaosReport {
  readonly kind: WorldKind;
  readonly seed: number;
  readonly faults: number;
  readonly written: number;
  readonly acked: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly read: number;
  readonly gaps: number;
  /** From the last fault's end until everything flowed again. */
  readonly recoveredMs: number;
  readonly largestHubMiB: number;
  readonly violations: readonly Violation[];
}

const ROOMS = ['CHAOS-1', 'CHAOS-2', 'CHAOS-3'];
const WRITERS = 4;
const EVENTS_PER_SECOND = 60;
const TICK_MS = 20;
/** What a reader asks for, in turn. */
const INTERESTS = [['CHAOS-*'], ['CHAOS-1', 'CHAOS-3'], ['*']];
const READERS = 6;
const BACKOFF = { firstMs: 50, capMs: 1_000 };
const PADDING = 'x'.repeat(200);

export async function runChaos({ kind, seed, durationMs, recoverWithinMs }: ChaosOptions): Promise<ChaosReport> {
  const world = await ChaosWorld.start(kind);
  const writers: (Writer | DeviceWriter)[] = [];
  const readers: Reader[] = [];
  try {
    for (let at = 0; at < READERS; at += 1) readers.push(new Reader(`r${at}`, at === 0 ? world.slowUrl : urlOf(world, at), INTERESTS[at % INTERESTS.length] ?? []));
    for (let at = 0; at < WRITERS; at += 1) writers.push(new Writer(`w${at}`, urlOf(world, at), ROOMS[at % ROOMS.length] ?? ''));
    writers.push(new DeviceWriter('d0', world.repeater.url, 'CHAOS-1'), new DeviceWriter('d1', world.repeater.url, 'CHAOS-2'));
    await eventually(() => [...writers, ...readers].every(({ isReady }) => isReady), { timeoutMs: recoverWithinMs, what: 'everybody to be there' });
    await flows(writers, readers, recoverWithinMs);

    for (const writer of writers) writer.start();
    const schedule = scheduleOf({ seed, durationMs, faults: world.faults });
    const begunMs = performance.now();
    let faults = 0;
    for (const scheduled of schedule) {
      await sleep(Math.max(0, scheduled.atMs - (performance.now() - begunMs)));
      if (world.strike(scheduled)) faults += 1;
    }
    await world.healed();
    const healedMs = performance.now();
    for (const writer of writers) writer.stop();
    await flows(writers, readers, recoverWithinMs);
    const recoveredMs = Math.round(performance.now() - healedMs);
    const written = writers.flatMap((writer) => writer.written);
    await eventually(() => writers.every(({ unanswered }) => unanswered === 0), { timeoutMs: recoverWithinMs, what: 'every publish to be answered' });
    return {
      kind, seed, faults, written: written.length, acked: written.filter(({ isAcked }) => isAcked).length, refused: sumOf(writers),
      read: readers.reduce((sum, { log }) => sum + log.events.length, 0), gaps: readers.reduce((sum, { log }) => sum + log.gaps.length, 0),
      recoveredMs, largestHubMiB: Math.round(world.largestHubBytes() / 1_048_576), violations: check(written, readers.map(({ log }) => log)),
    };
  } finally {
    for (const writer of writers) writer.stop();
    await Promise.all([...writers, ...readers].map((one) => one.close()));
    await world.stop();
  }
}

/** Everybody writes one more; resolves when whoever wants it has it. */
async function flows(writers: readonly (Writer | DeviceWriter)[], readers: readonly Reader[], timeoutMs: number): Promise<void> {
  const marks = await Promise.all(writers.map((writer) => writer.mark()));
  await eventually(() => {
    const missing = readers.flatMap((reader) => marks.filter((mark) => reader.wants(mark.room) && !reader.has(mark)).map((mark) => `${reader.name} lacks ${mark.writer}-${mark.counter}`));
    if (missing.length > 0) throw new Error(missing.slice(0, 4).join(', '));
  }, { timeoutMs, intervalMs: 50, what: 'everybody to hear everybody' });
}

function urlOf({ urls }: ChaosWorld, at: number): string {
  return urls[at % urls.length] as string;
}

function sumOf(writers: readonly (Writer | DeviceWriter)[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const { refused } of writers) for (const [code, count] of refused) sum[code] = (sum[code] ?? 0) + count;
  return sum;
}

class Writer {
  readonly name: string;
  readonly room: string;
  readonly messenger: Messenger;
  readonly written: WrittenEvent[] = [];
  readonly refused = new Map<string, number>();
  unanswered = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(name: string, url: string, room: string) {
    this.name = name;
    this.room = room;
    this.messenger = connect(url, { backoff: BACKOFF });
  }

  write(): WrittenEvent {
    const event: WrittenEvent = { room: this.room, writer: this.name, counter: this.written.length + 1, seq: undefined, isAcked: false };
    this.written.push(event);
    this.unanswered += 1;
    this.messenger.send(this.room, JSON.stringify({ writer: event.writer, counter: event.counter, padding: PADDING }), { id: `${event.writer}-${event.counter}` }).then(
      (published) => {
        event.isAcked = true;
        event.seq = 'seq' in published ? published.seq : undefined;
      },
      (error: unknown) => {
        const code = (error as { readonly code?: string }).code ?? 'UNKNOWN';
        this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
      },
    ).finally(() => (this.unanswered -= 1));
    return event;
  }

  get isReady(): boolean {
    return this.messenger.state.status === 'open';
  }

  mark(): Promise<WrittenEvent> {
    return Promise.resolve(this.write());
  }

  close(): Promise<void> {
    return this.messenger.close();
  }

  start(): void {
    this.#timer = setInterval(() => {
      for (let due = (EVENTS_PER_SECOND * TICK_MS) / 1_000; due > 0; due -= 1) if (due >= 1 || Math.random() < due) this.write();
    }, TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

class Reader {
  readonly name: string;
  readonly messenger: Messenger;
  readonly log: ReaderLog;
  readonly wants: (room: string) => boolean;
  readonly #got = new Set<string>();

  constructor(name: string, url: string, rooms: readonly string[]) {
    this.name = name;
    this.wants = (room) => rooms.includes(room) || rooms.some((pattern) => pattern.endsWith('*'));
    const events: ReadEvent[] = [];
    const gaps: ReadGap[] = [];
    this.log = { name, wants: this.wants, events, gaps };
    this.messenger = connect(url, { backoff: BACKOFF });
    this.messenger.subscribe<{ writer: string; counter: number }>(rooms, (event) => {
      const { writer, counter } = event.json();
      events.push({ room: event.room, writer, counter, seq: event.seq ?? 0 });
      this.#got.add(`${writer}-${counter}`);
    }, { since: { seq: 0 }, onGap: ({ from, to }) => void gaps.push({ from, to }) });
  }

  get isReady(): boolean {
    return this.messenger.state.status === 'open';
  }

  close(): Promise<void> {
    return this.messenger.close();
  }

  has({ writer, counter }: WrittenEvent): boolean {
    return this.#got.has(`${writer}-${counter}`);
  }
}
