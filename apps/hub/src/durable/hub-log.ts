import { join } from 'node:path';

import { natsLogin } from '@carillon/bus';
import { openJetStreamLog, openLmdbLog, type EventLog } from '@carillon/log';
import type { Logger, ProcessContext } from '@carillon/runtime';

import { hubSettings, type HubConfig } from '../config.ts';

/** How often the tails of a cluster are compared with the log: what a reader is sent again after a reconnect is at most of so long. */
const AUDIT_MS = 5_000;
/** Longer than a cluster takes to elect a leader (4 to 9 s), so that what was under way is stored then, and not refused just before. */
const APPEND_TIMEOUT_MS = 12_000;
/** What stands before the body of an event that is kept aside: its tag line and a reason, as JSON. */
const HELD_HEAD_MAX_BYTES = 16_384;
const DAMAGED_ADVICE = `Restore it, or start once with ${hubSettings.log.whenDamaged.env}=set-aside: it is moved aside, and an empty log begins.`;

/** The log of a hub: JetStream where it has a NATS, else LMDB under its data directory; undefined when it is to keep none. */
export async function openHubLog({ cluster, common, limits, log: settings }: HubConfig, { name, log }: { readonly name: string; readonly log: Logger }): Promise<EventLog | undefined> {
  if (settings.store === 'off') return undefined;
  const eventMaxBytes = limits.frameMaxBytes + HELD_HEAD_MAX_BYTES;
  if (cluster.natsUrl.length === 0) return openLmdbLog({ dir: join(common.dataDir, 'log'), log, eventMaxBytes, whenDamaged: settings.whenDamaged, damagedAdvice: DAMAGED_ADVICE });
  const { natsCredsFile } = cluster;
  return openJetStreamLog({
    ...natsLogin(cluster.natsUrl), name, auditMs: AUDIT_MS, appendTimeoutMs: APPEND_TIMEOUT_MS, eventMaxBytes,
    ...(settings.replicas === undefined ? {} : { replicas: settings.replicas === '3' ? 3 : 1 }),
    ...(natsCredsFile === undefined ? {} : { credentials: { credsFile: natsCredsFile } }),
    log: ({ level, text, fields }) => log[level](fields, text),
  });
}

/** A log that is in use: which one it is, what is past retention goes, and whether it can be reached shows. */
export interface ServedLog {
  readonly log: EventLog;
  /** Empty until it was open once. */
  epoch(): string;
  /** Hears that the log was made anew: positions of peers are of no use any more. */
  onNewEpoch(listener: () => void): void;
  stop(): Promise<void>;
}

export async function serveLog(log: EventLog, { sweepIntervalMs, context }: { readonly sweepIntervalMs: number; readonly context: ProcessContext }): Promise<ServedLog> {
  let epoch = '';
  const listeners = new Set<() => void>();
  const look = async (): Promise<void> => {
    const bounds = await log.bounds();
    const isNew = epoch !== '' && bounds.epoch !== epoch;
    epoch = bounds.epoch;
    if (isNew) for (const listener of listeners) listener();
  };
  const tried = (error: unknown): void => context.log.warn({ error }, 'the event log does not answer');
  context.health.addCheck('event-log', () => (log.state === 'open' ? { ok: true } : { ok: false, reason: `the event log is ${log.state}; live rooms go on` }));
  const unlisten = log.onState((state) => {
    context.log[state === 'away' ? 'warn' : 'info']({ state }, 'event log');
    if (state === 'open') void look().catch(tried);
  });
  if (log.state === 'open') await look();
  const timer = setInterval(() => void log.sweep().catch(tried), sweepIntervalMs).unref();
  return {
    log,
    epoch: () => epoch,
    onNewEpoch: (listener) => void listeners.add(listener),
    stop: async () => {
      clearInterval(timer);
      unlisten();
      await log.close();
    },
  };
}
