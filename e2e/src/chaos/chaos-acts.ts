import type { FaultProxy } from '@carillon/testing';

import type { ScheduledFault } from './chaos-schedule.ts';
import type { ChaosParts, HubSite, RepeaterSite } from './chaos-world.ts';
import type { SmallDisk } from './small-disk.ts';

/** What a fault does: to whom (one fault at a time), how it begins and how it ends. */
export interface Act {
  readonly subject: object;
  readonly begin: () => void | Promise<void>;
  readonly end: () => void | Promise<void>;
}

/** What one reader takes while it is slowed: less than what is written. */
const SLOW_BYTES_PER_SECOND = 8_192;
/** A wall clock jumps by up to an hour, ahead or back, by whole seconds. */
const STEP_MAX_S = 3_600;
const SERVERS = 3;

/** What a scheduled fault is in this world; undefined when it cannot be. Its target says to whom, and what is left of it how. */
export function actOf(parts: ChaosParts, { fault, target }: ScheduledFault): Act | undefined {
  const { hub } = parts.hubs[target % parts.hubs.length] as HubSite;
  const { edge: { repeater }, slowProxy } = parts;
  const proxy = parts.proxies[target % parts.proxies.length] as FaultProxy;
  switch (fault) {
    case 'kill-hub':
      return { subject: hub, begin: () => hub.kill(), end: () => hub.start() };
    case 'freeze-hub':
      return { subject: hub, begin: () => hub.service.kill('SIGSTOP'), end: () => hub.service.kill('SIGCONT') };
    case 'kill-log-server':
    case 'freeze-log-server':
    case 'partition-log-server':
      return logServerAct(parts, { fault, target });
    case 'cut-clients':
      return { subject: proxy, begin: () => proxy.cut(), end: () => proxy.heal() };
    case 'stall-clients':
      return { subject: proxy, begin: () => proxy.stall(), end: () => proxy.heal() };
    case 'dead-peers':
      return { subject: proxy, begin: () => proxy.abandon(), end: () => proxy.heal() };
    case 'slow-reader':
      return { subject: slowProxy, begin: () => slowProxy.limitBytesPerSecond(SLOW_BYTES_PER_SECOND), end: () => slowProxy.limitBytesPerSecond(Number.POSITIVE_INFINITY) };
    case 'kill-repeater':
      return { subject: repeater, begin: () => repeater.kill(), end: () => repeater.start() };
    case 'freeze-repeater':
      return { subject: repeater, begin: () => repeater.signal('SIGSTOP'), end: () => repeater.signal('SIGCONT') };
    case 'full-disk':
      return fullDiskAct(parts, target);
    case 'step-clock':
      return stepClockAct(parts, target);
    default:
      return fault satisfies never;
  }
}

/** One server at a time: the others are the quorum. */
function logServerAct({ nats }: ChaosParts, { fault, target }: Pick<ScheduledFault, 'fault' | 'target'>): Act | undefined {
  const server = nats?.servers[target % SERVERS];
  const partition = nats?.partitions[target % SERVERS];
  if (nats === undefined || server === undefined) return undefined;
  if (fault === 'kill-log-server') return { subject: nats, begin: () => server.kill(), end: () => server.restart() };
  if (fault === 'freeze-log-server') return { subject: nats, begin: () => server.pause(), end: () => server.resume() };
  if (partition === undefined) return undefined;
  const isCut = Math.floor(target / SERVERS) % 2 === 0;
  return { subject: nats, begin: () => (isCut ? partition.cut() : partition.stall()), end: () => partition.heal() };
}

/** Of a hub that has its log in the process, or of the repeater; neither is killed meanwhile. */
function fullDiskAct({ hubs, edge }: ChaosParts, target: number): Act | undefined {
  const acts = [...hubs.map(({ hub, disk }) => diskAct(hub, disk)), fullOutboxAct(edge)].filter((act) => act !== undefined);
  return acts[target % acts.length];
}

function diskAct(subject: object, disk: SmallDisk | undefined): Act | undefined {
  return disk === undefined ? undefined : { subject, begin: () => disk.fill(), end: () => disk.empty() };
}

/** An outbox that is emptied as it is filled needs no more room: it is its hub's being away that fills it. */
function fullOutboxAct({ repeater, uplink, disk }: RepeaterSite): Act | undefined {
  if (disk === undefined) return undefined;
  return {
    subject: repeater,
    begin: () => {
      uplink.cut();
      disk.fill();
    },
    end: () => {
      disk.empty();
      return uplink.heal();
    },
  };
}

function stepClockAct({ hubs, edge }: ChaosParts, target: number): Act | undefined {
  const sites = [...hubs.map(({ hub, clock }) => ({ subject: hub, clock, kill: (signal: NodeJS.Signals) => hub.service.kill(signal) })), repeaterSite(edge)];
  const site = sites[target % sites.length];
  if (site === undefined) return undefined;
  const aheadMs = ((Math.floor(target / sites.length) % (2 * STEP_MAX_S + 1)) - STEP_MAX_S) * 1_000;
  return { subject: site.subject, begin: () => site.clock.step(aheadMs, site), end: () => site.clock.step(0, site) };
}

function repeaterSite({ repeater, clock }: RepeaterSite) {
  return { subject: repeater, clock, kill: (signal: NodeJS.Signals) => repeater.signal(signal) };
}
