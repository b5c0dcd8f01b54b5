import type { CaseResult } from './report.ts';

/** What must hold, judged on the figures of one run: a ratio is always against the plain server of the same run. */
export interface Verdict {
  readonly what: string;
  readonly figure: number;
  readonly bound: string;
  readonly holds: boolean;
}

const PLAIN = 'plain ws.send';
/** Deliveries per CPU-second of the hub over the plain server's, at least. */
const RATIOS = [
  { subscribers: 1, inFlight: 1, atLeast: 1 },
  { subscribers: 1, inFlight: 50, atLeast: 1 },
  { subscribers: 100, inFlight: 50, atLeast: 10 },
  { subscribers: 1_000, inFlight: 50, atLeast: 12 },
];
const RATE_P99_MAX_MS = 10;
const IDLE_MAX_BYTES = 12_288;
/** "Where it was": within this of the same load without slow peers; what a shared machine swings by alone. */
const SLOW_P99_SLACK_MS = 5;
const SLOW_PEERS = 2;
const DECISION_MAX_CPU_MICROS = 50;
const CONFIG_WRITES_MIN = 200;

const ACKED_MIN = 20_000;
const DURABLE_COST_MAX = 3;
const CATCH_UP_MIN = 50_000;
/** "Flat": what a few pages and a garbage collection swing by. */
const CATCH_UP_GROWTH_MAX_BYTES = 67_108_864;
const LIVE_P99_MAX_MS = 250;
const COME_BACK_MAX_MS = 15_000;
const OUTBOX_READY_MAX_MS = 5_000;
const OUTBOX_DRAIN_MIN = 5_000;
const OUTBOX_LIVE_P99_MAX_MS = 2_000;
const DURABLE_APPENDS_MIN = 20_000;
const JETSTREAM_RATIO_MIN = 0.7;

export function judge(results: readonly CaseResult[]): Verdict[] {
  const verdicts: Verdict[] = [];
  const check = (what: string, figure: number, bound: string, holds: boolean): void => void verdicts.push({ what, figure, bound, holds });
  const fanOut = (server: string, subscribers: number, inFlight: number): CaseResult | undefined =>
    results.find((result) => result.case === 'fanout' && result.server === server && result['subscribers'] === subscribers && result['inFlight'] === inFlight);
  for (const { subscribers, inFlight, atLeast } of RATIOS) {
    const hub = fanOut('hub', subscribers, inFlight);
    const plain = fanOut(PLAIN, subscribers, inFlight);
    if (hub === undefined || plain === undefined) continue;
    const ratio = Math.round((Number(hub['deliveriesPerCpuSecond']) / Number(plain['deliveriesPerCpuSecond'])) * 100) / 100;
    check(`deliveries per CPU-second over the plain server's, ${subscribers} subscribers, ${inFlight} in flight`, ratio, `>= ${atLeast}`, ratio >= atLeast);
  }
  for (const result of results.filter(({ case: name, server }) => name === 'fanout' && server === 'hub')) {
    check(`lost, ${result['subscribers']} subscribers, ${result['inFlight']} in flight`, Number(result['lost']), '= 0', result['lost'] === 0);
  }
  for (const result of results.filter(({ case: name }) => name === 'rate')) {
    check('p99 ms at 1,000 events/s to 10 subscribers', Number(result['p99Ms']), `< ${RATE_P99_MAX_MS}`, Number(result['p99Ms']) < RATE_P99_MAX_MS);
    check('lost at 1,000 events/s to 10 subscribers', Number(result['lost']), '= 0', result['lost'] === 0);
  }
  for (const result of results.filter(({ case: name }) => name === 'idle')) {
    check(`memory bytes per idle connection, ${result['connections']} of them`, Number(result['bytesPerConnection']), `<= ${IDLE_MAX_BYTES}`, Number(result['bytesPerConnection']) <= IDLE_MAX_BYTES);
  }
  for (const result of results.filter(({ case: name }) => name === 'slow')) {
    const slower = Math.round((Number(result['p99WithMs']) - Number(result['p99WithoutMs'])) * 100) / 100;
    const laneBound = SLOW_PEERS * Number(result['laneMaxBytes']);
    check('p99 ms more beside a peer that never reads and one that reads 1 KB/s', slower, `< ${SLOW_P99_SLACK_MS}`, slower < SLOW_P99_SLACK_MS);
    check('lost by the others beside slow peers', Number(result['lost']), '= 0', result['lost'] === 0);
    check('bytes waiting in lanes at the most beside slow peers', Number(result['queuedMaxBytes']), `<= ${laneBound}`, Number(result['queuedMaxBytes']) <= laneBound);
    check('slow peers closed', Number(result['cut']), `= ${SLOW_PEERS}`, result['cut'] === SLOW_PEERS);
  }
  for (const { decisionCpuMicros } of results.filter(({ case: name }) => name === 'authorise')) {
    check('CPU µs to authorise a connection', Number(decisionCpuMicros), `< ${DECISION_MAX_CPU_MICROS}`, Number(decisionCpuMicros) < DECISION_MAX_CPU_MICROS);
  }
  for (const { writesPerSecond, unpublished } of results.filter(({ case: name }) => name === 'config')) {
    check('configuration writes a second on the embedded database', Number(writesPerSecond), `>= ${CONFIG_WRITES_MIN}`, Number(writesPerSecond) >= CONFIG_WRITES_MIN);
    check('records that the feed has not handed over', Number(unpublished), '= 0', unpublished === 0);
  }
  for (const { ackedPerSecond, refused, costRatio, lost, subscribers } of results.filter(({ case: name }) => name === 'durable')) {
    check('events a second acked once they are fsynced, by a hub on the embedded log', Number(ackedPerSecond), `>= ${ACKED_MIN}`, Number(ackedPerSecond) >= ACKED_MIN);
    check('events refused meanwhile', Number(refused), '= 0', refused === 0);
    check(`hub CPU for a durable event over that for a live one, ${subscribers} subscribers`, Number(costRatio), `<= ${DURABLE_COST_MAX}`, Number(costRatio) <= DURABLE_COST_MAX);
    check('lost in either lane', Number(lost), '= 0', lost === 0);
  }
  for (const { events, eventsPerSecond, missing, grownBytes, liveP99Ms, liveLost, readers } of results.filter(({ case: name }) => name === 'catch-up')) {
    check(`events a second to one subscriber that catches up on ${events}`, Number(eventsPerSecond), `>= ${CATCH_UP_MIN}`, Number(eventsPerSecond) >= CATCH_UP_MIN);
    check('events missing after catching up', Number(missing), '= 0', missing === 0);
    check('bytes the hub grew by meanwhile', Number(grownBytes), `<= ${CATCH_UP_GROWTH_MAX_BYTES}`, Number(grownBytes) <= CATCH_UP_GROWTH_MAX_BYTES);
    check(`p99 ms of live events while ${readers} catch up`, Number(liveP99Ms), `< ${LIVE_P99_MAX_MS}`, Number(liveP99Ms) < LIVE_P99_MAX_MS);
    check('live events lost meanwhile', Number(liveLost), '= 0', liveLost === 0);
  }
  for (const { ackedPerSecond, lost } of results.filter(({ case: name }) => name === 'durable-append')) {
    check('events a second that the embedded log has fsynced', Number(ackedPerSecond), `>= ${DURABLE_APPENDS_MIN}`, Number(ackedPerSecond) >= DURABLE_APPENDS_MIN);
    check('acked events that the embedded log does not have', Number(lost), '= 0', lost === 0);
  }
  for (const { ratio } of results.filter(({ case: name }) => name === 'jetstream')) {
    check('events a second into JetStream over those of a bare loop with ids', Number(ratio), `>= ${JETSTREAM_RATIO_MIN}`, Number(ratio) >= JETSTREAM_RATIO_MIN);
  }
  for (const { events, readyMs, drainedPerSecond, liveP99Ms, lost } of results.filter(({ case: name }) => name === 'outbox')) {
    check(`ms until a repeater with ${events} events in its outbox is ready`, Number(readyMs), `<= ${OUTBOX_READY_MAX_MS}`, Number(readyMs) <= OUTBOX_READY_MAX_MS);
    check('events a second from the outbox to a hub that acks', Number(drainedPerSecond), `>= ${OUTBOX_DRAIN_MIN}`, Number(drainedPerSecond) >= OUTBOX_DRAIN_MIN);
    check('p99 ms of live events meanwhile', Number(liveP99Ms), `< ${OUTBOX_LIVE_P99_MAX_MS}`, Number(liveP99Ms) < OUTBOX_LIVE_P99_MAX_MS);
    check('events lost on the way', Number(lost), '= 0', lost === 0);
  }
  for (const { clients, backMs99, allBackMs, missing, repeated } of results.filter(({ case: name }) => name === 'come-back')) {
    check(`ms until 99 of 100 of ${clients} clients are back and have all they missed, their hub killed`, Number(backMs99), `<= ${COME_BACK_MAX_MS}`, Number(backMs99) <= COME_BACK_MAX_MS);
    check('ms until all are', Number(allBackMs), '< Infinity', Number.isFinite(allBackMs));
    check('events missing or repeated at any of them', Number(missing) + Number(repeated), '= 0', Number(missing) + Number(repeated) === 0);
  }
  return verdicts;
}
