import { startNatsServer, stopAll, type NatsServer } from '@carillon/testing';
import { afterAll } from 'vitest';

import { describeEventLog } from './event-log.conformance.ts';
import type { EventLog } from './event-log.ts';
import { askServer } from './jetstream-api.fixture.ts';
import { openJetStreamLog } from './jetstream-log.ts';
import { CONFORMANCE_LIMITS } from './log-world.conformance.ts';

const servers = new Map<EventLog, NatsServer>();
afterAll(async () => {
  servers.clear();
  await stopAll();
});

async function open(server: NatsServer): Promise<EventLog> {
  const log = openJetStreamLog({
    servers: [server.url],
    name: 'conformance',
    eventMaxBytes: CONFORMANCE_LIMITS.eventMaxBytes,
    inFlightMaxBytes: CONFORMANCE_LIMITS.waitingMaxBytes,
    timeoutMs: 20_000,
  });
  servers.set(log, server);
  await log.bounds();
  return log;
}

/** One log an account, so each open one has a server of its own; that of a closed log is emptied and used again. */
async function freeServer(): Promise<NatsServer> {
  const taken = new Set([...servers].filter(([log]) => log.state !== 'closed').map(([, server]) => server));
  const free = [...servers.values()].find((server) => !taken.has(server));
  if (free === undefined) return startNatsServer({ jetstream: true });
  for (const [log, server] of servers) if (server === free) servers.delete(log);
  for (const name of ['CARILLON', 'CARILLON_GONE']) await askServer(free, `$JS.API.STREAM.DELETE.${name}`);
  return free;
}

describeEventLog('openJetStreamLog with one server', () => ({
  fresh: async () => open(await freeServer()),
  reopen: async (log) => {
    const server = servers.get(log);
    if (server === undefined) throw new Error('not a log of this world');
    await log.close();
    return open(server);
  },
}));
