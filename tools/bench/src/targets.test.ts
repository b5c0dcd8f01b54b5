import { describe, expect, it } from 'vitest';

import { judge } from './targets.ts';

const fanOut = (server: string, deliveriesPerCpuSecond: number, lost = 0) => ({ case: 'fanout', server, subscribers: 100, inFlight: 50, deliveriesPerCpuSecond, lost });

describe('what must hold', () => {
  it('holds at ten times the plain server and nothing lost', () => {
    expect(judge([fanOut('hub', 1_000), fanOut('plain ws.send', 100)]).every(({ holds }) => holds)).toBe(true);
  });

  it.each([
    ['too slow', [fanOut('hub', 999), fanOut('plain ws.send', 100)]],
    ['a loss', [fanOut('hub', 2_000, 1), fanOut('plain ws.send', 100)]],
    ['latency', [{ case: 'rate', server: 'hub', p99Ms: 10, lost: 0 }]],
    ['memory', [{ case: 'idle', server: 'hub', connections: 10_000, bytesPerConnection: 12_289 }]],
    ['a slow peer that was kept', [{ case: 'slow', server: 'hub', p99WithoutMs: 1, p99WithMs: 1, lost: 0, laneMaxBytes: 10, queuedMaxBytes: 1, cut: 1 }]],
    ['lanes over their bound', [{ case: 'slow', server: 'hub', p99WithoutMs: 1, p99WithMs: 1, lost: 0, laneMaxBytes: 10, queuedMaxBytes: 21, cut: 2 }]],
    ['a slow decision', [{ case: 'authorise', server: 'hub', decisionCpuMicros: 50 }]],
    ['few writes', [{ case: 'config', server: 'config-manager', writesPerSecond: 199, unpublished: 0 }]],
    ['a record that was not handed over', [{ case: 'config', server: 'config-manager', writesPerSecond: 300, unpublished: 1 }]],
    ['few events in the embedded log', [{ case: 'durable-append', server: 'log', ackedPerSecond: 19_999, lost: 0 }]],
    ['an acked event that is not there', [{ case: 'durable-append', server: 'log', ackedPerSecond: 30_000, lost: 1 }]],
    ['a log that slows JetStream down', [{ case: 'jetstream', server: 'log', ratio: 0.69 }]],
    ['a slow start with an outbox', [{ case: 'outbox', server: 'repeater', events: 10, readyMs: 5_001, drainedPerSecond: 9_000, liveP99Ms: 1, lost: 0 }]],
    ['an event of the outbox that is lost', [{ case: 'outbox', server: 'repeater', events: 10, readyMs: 1, drainedPerSecond: 9_000, liveP99Ms: 1, lost: 1 }]],
    ['live events that wait for a backlog', [{ case: 'outbox', server: 'repeater', events: 10, readyMs: 1, drainedPerSecond: 9_000, liveP99Ms: 2_000, lost: 0 }]],
    ['figures that are missing', [fanOut('hub', Number.NaN), fanOut('plain ws.send', 100)]],
  ])('does not hold with %s', (_what, results) => {
    expect(judge(results).some(({ holds }) => !holds)).toBe(true);
  });
});
