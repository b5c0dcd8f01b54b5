import { eventually } from './eventually.ts';

// Everything that a test of ours can leave behind; files and name look-ups under way come and go with the runtime's own work.
const TRACKED = ['TCPSocketWrap', 'TCPServerWrap', 'TLSWrap', 'UDPWrap', 'PipeWrap', 'PipeServerWrap', 'ProcessWrap', 'Timeout', 'Immediate', 'FSEventWrap', 'MessagePort', 'Worker'] as const;

/**
 * Counts what keeps this process alive now (sockets, servers, timers, child processes). The function given back waits until
 * there is no more of any kind than there was, and throws naming the kinds that leaked.
 */
export function trackResources(): (options?: { readonly timeoutMs?: number }) => Promise<void> {
  const before = count();
  return async ({ timeoutMs = 10_000 } = {}) => {
    await eventually(
      () => {
        const leaked = [...count()].flatMap(([kind, now]) => (now > (before.get(kind) ?? 0) ? [`${now - (before.get(kind) ?? 0)} × ${kind}`] : []));
        if (leaked.length > 0) throw new Error(`left behind: ${leaked.join(', ')}`);
      },
      { timeoutMs, what: 'the resources of the test to be released' },
    );
  };
}

function count(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (TRACKED.some((tracked) => tracked === kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}
