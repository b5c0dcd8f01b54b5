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
  return verdicts;
}
