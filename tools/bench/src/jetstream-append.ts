import { openJetStreamLog, type EventLog } from '@carillon/log';
import { startNatsCluster, stopAll } from '@carillon/testing';
import { roomSubject } from '@carillon/wire';
import { connect, createInbox, headers, type NatsConnection } from '@nats-io/transport-node';

/**
 * What the log makes of JetStream, next to a bare loop of pipelined publishes with the same client on the same three servers, in turns: each
 * event kept by three, acked when two have it. The bare loop does nothing else; with ids the server tells duplicates, as the log needs it.
 */
export interface JetStreamAppendResult {
  readonly eventBytes: number;
  readonly inFlight: number;
  /** Each of the median round. */
  readonly oursPerSecond: number;
  readonly barePerSecond: number;
  readonly withoutIdsPerSecond: number;
  /** The median of each round's own ratio: what drifts from round to round is the same for both. */
  readonly ratio: number;
  readonly ratioWithoutIds: number;
  readonly oursCpuMicros: number;
  readonly bareCpuMicros: number;
}

const EVENTS = 10_000;
const ROUNDS = 5;
const IN_FLIGHT = 2_000;
const ROOMS = 20;
const WORKSPACE = 'bench';
const OPEN_TIMEOUT_MS = 60_000;

interface Loop {
  readonly perSecond: number;
  readonly cpuMicros: number;
}

export async function measureJetStreamAppend(eventBytes: number): Promise<JetStreamAppendResult> {
  const cluster = await startNatsCluster(3, { jetstream: true });
  const [server = ''] = cluster.urls;
  const log = openJetStreamLog({ servers: [server], name: 'bench', replicas: 3 });
  const connection = await connect({ servers: [server], noAsyncTraces: true });
  try {
    await opened(log);
    const body = Buffer.alloc(eventBytes, 'x');
    const bare = await bareLoop(connection, body);
    const ours = () => pipelined((index, done) => append(log, { index, body }).then(done, done));
    await bare({ withIds: true });
    await ours(); // both warm
    const rounds: { readonly ours: Loop; readonly bare: Loop; readonly withoutIds: Loop }[] = [];
    for (let round = 0; round < ROUNDS; round += 1) rounds.push({ withoutIds: await bare({ withIds: false }), bare: await bare({ withIds: true }), ours: await ours() });
    const of = (figure: (round: (typeof rounds)[number]) => number, digits = 0): number => Number(median(rounds.map(figure)).toFixed(digits));
    return {
      eventBytes, inFlight: IN_FLIGHT,
      oursPerSecond: of((round) => round.ours.perSecond), barePerSecond: of((round) => round.bare.perSecond), withoutIdsPerSecond: of((round) => round.withoutIds.perSecond),
      ratio: of((round) => round.ours.perSecond / round.bare.perSecond, 2), ratioWithoutIds: of((round) => round.ours.perSecond / round.withoutIds.perSecond, 2),
      oursCpuMicros: of((round) => round.ours.cpuMicros, 1), bareCpuMicros: of((round) => round.bare.cpuMicros, 1),
    };
  } finally {
    await connection.close();
    await log.close();
    await stopAll();
  }
}

/** The first leader of the cluster takes a moment. */
async function opened(log: EventLog): Promise<void> {
  const deadlineMs = performance.now() + OPEN_TIMEOUT_MS;
  while (log.state !== 'open') {
    await log.bounds().catch((error: unknown) => {
      if (performance.now() > deadlineMs) throw error;
    });
  }
}

let count = 0;
const nextId = (): string => `event-${(count += 1).toString().padStart(20, '0')}`;
const roomOf = (index: number): string => `room-${index % ROOMS}`;

async function append(log: EventLog, { index, body }: { readonly index: number; readonly body: Buffer }): Promise<void> {
  await log.append({ workspaceId: WORKSPACE, room: roomOf(index), id: nextId(), atMs: Date.now(), fields: '\tfrom=bench', body });
}

/** The loop with nothing around it: one inbox for all acks, each told by the last token of its subject. */
async function bareLoop(connection: NatsConnection, body: Buffer): Promise<(options: { readonly withIds: boolean }) => Promise<Loop>> {
  const inbox = createInbox();
  const waiting = new Map<string, (failure?: unknown) => void>();
  connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      const done = waiting.get(message.subject);
      waiting.delete(message.subject);
      const ack = error === null ? message.json<{ readonly seq?: number }>() : {};
      done?.(ack.seq === undefined ? new Error(`an event was not stored: ${message.string()}`) : undefined);
    },
  });
  await connection.flush();
  const subjects = Array.from({ length: ROOMS }, (_, index) => `carillon.1.${WORKSPACE}.log.${roomSubject(roomOf(index))}`);
  let token = 0;
  return ({ withIds }) =>
    pipelined((index, done) => {
      const reply = `${inbox}.${(token += 1)}`;
      waiting.set(reply, done);
      const given = headers();
      if (withIds) given.set('Nats-Msg-Id', `${WORKSPACE}/${nextId()}`);
      connection.publish(subjects[index % ROOMS] ?? '', body, withIds ? { reply, headers: given } : { reply });
    });
}

/** Calls `start` for each event with so many unfinished at the most. */
async function pipelined(start: (index: number, done: (failure?: unknown) => void) => unknown): Promise<Loop> {
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  await new Promise<void>((resolve, reject) => {
    let started = 0;
    let finished = 0;
    const more = (): void => {
      while (started < EVENTS && started - finished < IN_FLIGHT) start(started++, done);
    };
    const done = (failure?: unknown): void => {
      if (failure instanceof Error) return reject(failure);
      finished += 1;
      if (finished === EVENTS) resolve();
      else if (started - finished <= IN_FLIGHT / 2) more();
    };
    more();
  });
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: EVENTS / ((performance.now() - startedMs) / 1_000), cpuMicros: (user + system) / EVENTS };
}

const median = (values: readonly number[]): number => [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
