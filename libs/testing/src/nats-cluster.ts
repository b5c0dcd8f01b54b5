import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { readInfo, startNatsServer, type NatsServer } from './nats-server.ts';

const FORM_TIMEOUT_MS = 20_000;

export interface NatsCluster {
  readonly servers: readonly NatsServer[];
  readonly urls: readonly string[];
  /** Stops every server. */
  stop(): Promise<void>;
}

/**
 * Starts `size` nats-servers on loopback that are one cluster and resolves when each knows the others. With JetStream the first
 * leader is chosen a little later: a first request may time out and has to be tried again.
 */
export async function startNatsCluster(size = 3, options: { readonly jetstream?: boolean } = {}): Promise<NatsCluster> {
  const routePorts = await Promise.all(Array.from({ length: size }, () => freePort()));
  const routes = routePorts.map((port) => `    "nats://127.0.0.1:${port}"`);
  const started = await Promise.allSettled(
    routePorts.map((port) =>
      startNatsServer({ ...options, extraConfig: ['cluster {', '  name: "carillon-test"', '  host: "127.0.0.1"', `  port: ${port}`, '  routes: [', ...routes, '  ]', '}'].join('\n') }),
    ),
  );
  const servers = started.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    for (const outcome of started) if (outcome.status === 'rejected') throw outcome.reason;
    for (const server of servers) {
      await eventually(() => knowsAll(server, servers), { timeoutMs: FORM_TIMEOUT_MS, what: `the server on port ${server.port} to know its cluster` });
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { servers, urls: servers.map((server) => server.url), stop };
}

async function knowsAll(server: NatsServer, all: readonly NatsServer[]): Promise<boolean> {
  const info = await readInfo(server.port);
  return all.length === 1 || all.every(({ port }) => info.includes(`"127.0.0.1:${port}"`));
}
