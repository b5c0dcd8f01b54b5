import { eventually } from './eventually.ts';
import { startFaultProxy, type FaultProxy } from './fault-proxy.ts';
import { freePort } from './free-port.ts';
import { readInfo, startNatsServer, type NatsServer } from './nats-server.ts';

const FORM_TIMEOUT_MS = 20_000;
/** Nobody listens there: what servers tell each other about a third one leads nowhere. */
const NOWHERE = '127.0.0.1:1';

export interface NatsClusterOptions {
  /** false by default. */
  readonly jetstream?: boolean;
  /** Has the servers talk to each other through proxies, so that one can be parted from the others; false by default. */
  readonly partitionable?: boolean;
}

/** What lies between one server and the others; its clients reach it all the same. */
export interface NatsPartition {
  /** Breaks its routes and lets none be made. */
  cut(): void;
  /** Its routes stay open and nothing goes through, as on a network that loses every packet. */
  stall(): void;
  /** What was held up goes on; what was cut is dialled again by the servers, within seconds. */
  heal(): Promise<void>;
}

export interface NatsCluster {
  readonly servers: readonly NatsServer[];
  readonly urls: readonly string[];
  /** One for each server, in their order; none unless it was started `partitionable`. */
  readonly partitions: readonly NatsPartition[];
  /** Stops every server. */
  stop(): Promise<void>;
}

/**
 * Starts `size` nats-servers on loopback that are one cluster and resolves when each knows the others. With JetStream the first
 * leader is chosen a little later: a first request may time out and has to be tried again.
 */
export async function startNatsCluster(size = 3, { jetstream = false, partitionable = false }: NatsClusterOptions = {}): Promise<NatsCluster> {
  const routePorts = await Promise.all(Array.from({ length: size }, () => freePort()));
  const paths = partitionable ? await startPaths(routePorts) : [];
  const started = await Promise.allSettled(
    routePorts.map((port, at) => {
      const dialled = partitionable ? paths.filter(({ from }) => from === at).map(({ proxy }) => proxy.port) : routePorts;
      return startNatsServer({ jetstream, extraConfig: clusterLines(port, dialled, partitionable ? NOWHERE : undefined) });
    }),
  );
  const servers = started.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const stop = async () => {
    await Promise.all([...servers, ...paths.map(({ proxy }) => proxy)].map((one) => one.stop()));
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
  const partitions = partitionable ? routePorts.map((_, at) => partitionOf(paths.flatMap(({ from, to, proxy }) => (from === at || to === at ? [proxy] : [])))) : [];
  return { servers, urls: servers.map((server) => server.url), partitions, stop };
}

/** A way from one server to another: whoever dials has a proxy of its own, so that one server can be parted and the others not. */
interface Path {
  readonly from: number;
  readonly to: number;
  readonly proxy: FaultProxy;
}

async function startPaths(routePorts: readonly number[]): Promise<readonly Path[]> {
  const pairs = routePorts.flatMap((_, from) => routePorts.flatMap((targetPort, to) => (from === to ? [] : [{ from, to, targetPort }])));
  return Promise.all(pairs.map(async ({ from, to, targetPort }) => ({ from, to, proxy: await startFaultProxy({ targetPort }) })));
}

function partitionOf(proxies: readonly FaultProxy[]): NatsPartition {
  return {
    cut: () => proxies.forEach((proxy) => proxy.cut()),
    stall: () => proxies.forEach((proxy) => proxy.stall()),
    heal: async () => {
      await Promise.all(proxies.map((proxy) => proxy.heal()));
    },
  };
}

/** With `advertise`, servers that hear of each other by way of a third one dial that, and not past the proxies. */
function clusterLines(port: number, dialled: readonly number[], advertise: string | undefined): string {
  const lines = ['cluster {', '  name: "carillon-test"', '  host: "127.0.0.1"', `  port: ${port}`];
  if (advertise !== undefined) lines.push(`  advertise: "${advertise}"`);
  return [...lines, '  routes: [', ...dialled.map((routePort) => `    "nats://127.0.0.1:${routePort}"`), '  ]', '}'].join('\n');
}

async function knowsAll(server: NatsServer, all: readonly NatsServer[]): Promise<boolean> {
  const info = await readInfo(server.port);
  return all.length === 1 || all.every(({ port }) => info.includes(`"127.0.0.1:${port}"`));
}
