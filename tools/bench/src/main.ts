import { parseArgs } from 'node:util';

import { measureAuthorise } from './authorise.ts';
import { measureCatchUp } from './catch-up.ts';
import { measureComeBack } from './come-back.ts';
import { measureConfigWrites } from './config-writes.ts';
import { measureDurable } from './durable.ts';
import { measureDurableAppend } from './durable-append.ts';
import { measureFanOut, type FanOutResult } from './fan-out.ts';
import { measureIdle } from './idle.ts';
import { measureJetStreamAppend } from './jetstream-append.ts';
import { measureOutbox } from './outbox.ts';
import { measureRate } from './rate.ts';
import { report, type CaseResult } from './report.ts';
import { measureSlowPeers } from './slow-peers.ts';
import { judge } from './targets.ts';
import { externalSubject, startHubSubject, startPlainSubject, type Subject } from './subject.ts';

/**
 * `npm run bench -- [--case fanout|rate|idle|slow|authorise|config|durable|catch-up|come-back|durable-append|jetstream|outbox] [--seconds 3] [--rounds 3] [--shape 100x50] [--queued 1000000] [--against name=pid@port/path]`
 * Hubs run with access keys. One JSON object a case and a bound on standard output, a table for people on standard error; exit code 1 when a bound
 * does not hold. Linux only: CPU and memory are the
 * kernel's account of the server process.
 */
const EVENT_BYTES = 300;
const FAN_OUTS = [
  { subscribers: 1, inFlight: 1 },
  { subscribers: 1, inFlight: 50 },
  { subscribers: 10, inFlight: 50 },
  { subscribers: 100, inFlight: 50 },
  { subscribers: 1_000, inFlight: 50 },
];

const { values } = parseArgs({
  options: { case: { type: 'string' }, seconds: { type: 'string', default: '3' }, against: { type: 'string', multiple: true, default: [] }, idle: { type: 'string', default: '10000' }, shape: { type: 'string' }, rounds: { type: 'string', default: '3' }, queued: { type: 'string', default: '1000000' } },
});
const seconds = Number(values.seconds);
/** Odd, for a median. */
const rounds = Number(values.rounds);
/** One event in flight leaves nothing to batch: servers differ by a few per cent there, so it takes more rounds to tell. */
const UNBATCHED_ROUNDS_FACTOR = 3;
const wanted = (name: string): boolean => values.case === undefined || values.case === name;
const results: CaseResult[] = [];
const add = (result: CaseResult): void => {
  results.push(result);
  process.stdout.write(`${JSON.stringify(result)}\n`);
};

/**
 * Measures servers A B A B A B, so that a machine whose speed drifts is the same for all, and takes each one's median by
 * deliveries per CPU-second. What any round has lost counts.
 */
async function inTurns(subjects: readonly Subject[], turns: number, measure: (subject: Subject) => Promise<FanOutResult>): Promise<{ subject: Subject; result: FanOutResult }[]> {
  const measured = new Map<Subject, FanOutResult[]>(subjects.map((subject) => [subject, []]));
  for (let round = 0; round < turns; round += 1) for (const [subject, results] of measured) results.push(await measure(subject));
  return [...measured].map(([subject, results]) => {
    const lost = results.reduce((sum, result) => sum + result.lost, 0);
    const sorted = results.sort((left, right) => left.deliveriesPerCpuSecond - right.deliveriesPerCpuSecond);
    return { subject, result: { ...(sorted[Math.floor(turns / 2)] as FanOutResult), lost } };
  });
}

async function withSubject(subject: Subject, run: (subject: Subject) => Promise<void>): Promise<void> {
  try {
    await run(subject);
  } finally {
    await subject.stop();
  }
}

if (process.platform !== 'linux') {
  process.stderr.write('The benchmark reads CPU time and memory from /proc and so runs on Linux only.\n');
  process.exit(1);
}
if (wanted('fanout')) {
  for (const shape of FAN_OUTS.filter(({ subscribers, inFlight }) => values.shape === undefined || values.shape === `${subscribers}x${inFlight}`)) {
    const subjects = [await startHubSubject(), await startPlainSubject(), ...values.against.map(externalSubject)];
    try {
      for (const { subject, result } of await inTurns(subjects, shape.inFlight === 1 ? rounds * UNBATCHED_ROUNDS_FACTOR : rounds, (subject) => measureFanOut(subject, { ...shape, seconds, eventBytes: EVENT_BYTES }))) {
        add({ case: 'fanout', server: subject.name, ...shape, ...result });
      }
    } finally {
      for (const subject of subjects) await subject.stop();
    }
  }
}
if (wanted('rate')) {
  await withSubject(await startHubSubject(), async (subject) => {
    add({ case: 'rate', server: subject.name, ...(await measureRate(subject, { subscribers: 10, eventsPerSecond: 1_000, seconds: seconds * 2, eventBytes: EVENT_BYTES })) });
  });
}
if (wanted('idle')) {
  await withSubject(await startHubSubject(), async (subject) => {
    add({ case: 'idle', server: subject.name, ...(await measureIdle(subject, Number(values.idle))) });
  });
}
if (wanted('slow')) {
  add({ case: 'slow', server: 'hub', ...(await measureSlowPeers({ seconds, eventBytes: EVENT_BYTES })) });
}
if (wanted('authorise')) {
  add({ case: 'authorise', server: 'hub', ...(await measureAuthorise()) });
}
if (wanted('config')) {
  add({ case: 'config', server: 'config-manager', ...(await measureConfigWrites(seconds * 2)) });
}
if (wanted('durable')) {
  add({ case: 'durable', server: 'hub', ...(await measureDurable({ seconds, rounds, eventBytes: EVENT_BYTES })) });
}
if (wanted('catch-up')) {
  add({ case: 'catch-up', server: 'hub', ...(await measureCatchUp({ eventBytes: EVENT_BYTES })) });
}
if (wanted('durable-append')) {
  add({ case: 'durable-append', server: 'log', ...(await measureDurableAppend(EVENT_BYTES)) });
}
if (wanted('jetstream')) {
  add({ case: 'jetstream', server: 'log', ...(await measureJetStreamAppend(EVENT_BYTES)) });
}
if (wanted('outbox')) {
  add({ case: 'outbox', server: 'repeater', ...(await measureOutbox({ events: Number(values.queued), eventBytes: EVENT_BYTES })) });
}
if (wanted('come-back')) {
  add({ case: 'come-back', server: 'hub', ...(await measureComeBack()) });
}
const verdicts = judge(results);
for (const verdict of verdicts) process.stdout.write(`${JSON.stringify({ case: 'must-hold', ...verdict })}\n`);
report(results, verdicts);
process.exit(verdicts.every(({ holds }) => holds) ? 0 : 1);
