import { monitorEventLoopDelay, performance } from 'node:perf_hooks';

import type { Component } from './component.ts';
import type { MetricDefinition, Metrics } from './metrics.ts';

/** What every process shows of itself; registered by `runProcess`. */
export const processMetricDefinitions = {
  cpuSeconds: { name: 'process_cpu_seconds_total', kind: 'counter', help: 'CPU time this process used, user and system, in seconds.' },
  residentMemory: { name: 'process_resident_memory_bytes', kind: 'gauge', help: 'Resident memory of this process in bytes.' },
  eventLoopLag: {
    name: 'nodejs_eventloop_lag_p99_seconds', kind: 'gauge',
    help: 'How late the event loop ran, 99th percentile since the previous scrape, in seconds.',
  },
  heapUsed: { name: 'nodejs_heap_used_bytes', kind: 'gauge', help: 'Bytes of the JavaScript heap in use.' },
  startTime: { name: 'process_start_time_seconds', kind: 'gauge', help: 'When this process started, in seconds since 1970.' },
} as const satisfies Record<string, MetricDefinition>;

/**
 * How often the event loop's punctuality is measured; its histogram includes this interval. Node's default of 10 ms is a
 * timer that the kernel sets anew at every wait: measured here as 5 % of the CPU of a hub that passes on single events.
 */
const LAG_RESOLUTION_MS = 500;

/** Observes the metrics of this process; the component's stop ends the measuring of the event loop. */
export function observeProcess(metrics: Metrics): Component {
  const lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  lag.enable();
  metrics.observe(processMetricDefinitions.cpuSeconds, () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.observe(processMetricDefinitions.residentMemory, () => process.memoryUsage.rss());
  metrics.observe(processMetricDefinitions.eventLoopLag, () => {
    const seconds = lag.percentile(99) / 1e9 - LAG_RESOLUTION_MS / 1000;
    lag.reset();
    return Math.max(0, seconds);
  });
  metrics.observe(processMetricDefinitions.heapUsed, () => process.memoryUsage().heapUsed);
  metrics.observe(processMetricDefinitions.startTime, () => performance.timeOrigin / 1000);
  return { name: 'process metrics', stop: async () => void lag.disable() };
}
