import type { Verdict } from './targets.ts';

/** One measured case, flat, as it is printed. */
export interface CaseResult {
  readonly case: string;
  readonly server: string;
  readonly [figure: string]: string | number;
}

const thousands = (value: number): string => value.toLocaleString('en-US');

/** The table for people, on standard error so that standard output stays one JSON object a case. */
export function report(results: readonly CaseResult[], verdicts: readonly Verdict[]): void {
  const fanOut = results.filter((result) => result.case === 'fanout');
  if (fanOut.length > 0) {
    process.stderr.write('\n| subscribers | in flight | server | deliveries/s | deliveries/CPU-s | ratio to plain | p50 ms | p99 ms | lost |\n| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n');
    for (const result of fanOut) {
      const plain = fanOut.find((other) => other.server === 'plain ws.send' && other['subscribers'] === result['subscribers'] && other['inFlight'] === result['inFlight']);
      const ratio = plain === undefined ? '' : (Number(result['deliveriesPerCpuSecond']) / Number(plain['deliveriesPerCpuSecond'])).toFixed(1);
      const cells = [result['subscribers'], result['inFlight'], result.server, thousands(Number(result['deliveriesPerSecond'])), thousands(Number(result['deliveriesPerCpuSecond'])), ratio, result['p50Ms'], result['p99Ms'], result['lost']];
      process.stderr.write(`| ${cells.join(' | ')} |\n`);
    }
  }
  for (const result of results.filter((other) => other.case !== 'fanout')) {
    const figures = Object.entries(result).filter(([name]) => name !== 'case').map(([name, value]) => `${name} ${typeof value === 'number' ? thousands(value) : value}`);
    process.stderr.write(`\n${result.case}: ${figures.join(', ')}\n`);
  }
  process.stderr.write('\n| must hold | figure | bound | holds |\n| --- | ---: | --- | --- |\n');
  for (const { what, figure, bound, holds } of verdicts) process.stderr.write(`| ${what} | ${thousands(figure)} | ${bound} | ${holds ? 'yes' : 'NO'} |\n`);
}
