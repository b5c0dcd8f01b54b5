import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import type { StreamConfig, StreamInfo } from '@nats-io/jetstream';

import { LogError } from './event-log.ts';
import { ApiFault, type JetStreamLink } from './jetstream-link.ts';
import { GONE_SUBJECTS, LOG_SUBJECTS, REPUBLISH } from './jetstream-subjects.ts';

/*
 * The log is one stream for all workspaces; what retention has deleted is written down in a second, small one. Several processes
 * may make them at the same time: who comes second finds the first's, and its epoch.
 */
const EPOCH_KEY = 'carillon_epoch';
const NANOS_PER_MS = 1_000_000;
// Of JetStream's API: no such stream; the stream is there with other settings; its subjects belong to another stream.
const STREAM_UNKNOWN = 10_059;
const STREAM_DIFFERS = 10_058;
const SUBJECTS_TAKEN = 10_065;
const JETSTREAM_OFF: ReadonlySet<number> = new Set([10_039, 10_076]);
const CLUSTER_REPLICAS = 3;
const STALE_PAUSE_MS = 100;
const STALE_TRIES = 50;
// From 2.10: republish with transforms, filter_subjects, metadata. From 2.11: the last events of many rooms in one request.
const OLDEST_VERSION = [2, 10] as const;
const MULTI_LAST_VERSION = [2, 11] as const;

export interface JetStreamSettings {
  readonly stream: string;
  /** Undefined: as it is; one that is made has three in a cluster, else one. */
  readonly replicas: number | undefined;
  readonly duplicateWindowMs: number;
  readonly streamMaxBytes: number;
}

/** The stream, on one connection. */
export interface OpenStream {
  readonly link: JetStreamLink;
  readonly name: string;
  /** Where it is written down how far retention has deleted rooms. */
  readonly goneName: string;
  readonly epoch: string;
  readonly replicas: number;
  /** The server tells the last event of many rooms at once (2.11). */
  readonly hasMultiLast: boolean;
  /** The highest sequence that anybody here was told of: the stream is not shorter. */
  readonly seen: { head: number };
}

export interface StreamMaking {
  readonly settings: JetStreamSettings;
  /** The epoch that the stream had when it was last seen; undefined: it may be made. */
  readonly epoch: string | undefined;
  readonly mayRecreate: boolean;
  readonly log: (level: 'info' | 'warn', text: string, fields: Readonly<Record<string, unknown>>) => void;
}

export type BoundsOfStream = Pick<StreamInfo['state'], 'first_seq' | 'last_seq' | 'num_deleted' | 'messages'>;

/** Finds the stream or makes it, and brings its settings up to date where the server lets it. Throws LogError with a sentence for the operator. */
export async function openStream(link: JetStreamLink, making: StreamMaking): Promise<OpenStream> {
  if (!isAtLeast(link.version, OLDEST_VERSION)) {
    throw new LogError('LOG_UNAVAILABLE', `The NATS server is ${link.version || 'of an unknown version'}; the event log needs 2.10 or later: older ones have no republishing with transforms, no filter_subjects and no metadata.`);
  }
  const { settings, log } = making;
  try {
    const info = await findOrMake(link, making);
    await makeGone(link, { stream: settings.stream, replicas: info.config.num_replicas });
    const epoch = epochOf(info);
    if (making.epoch !== undefined && making.epoch !== epoch) {
      if (!making.mayRecreate) throw new LogError('LOG_UNAVAILABLE', `The stream ${settings.stream} is another one than before: it was deleted and made anew. Restart this process to go on with it.`);
      log('warn', 'The stream of the event log was made anew: its sequences begin again', { stream: settings.stream, epoch });
    }
    return { link, name: settings.stream, goneName: goneOf(settings.stream), epoch, replicas: info.config.num_replicas, hasMultiLast: isAtLeast(link.version, MULTI_LAST_VERSION), seen: { head: 0 } };
  } catch (error) {
    throw explained(error, link, settings.stream);
  }
}

/**
 * The state of the stream as its leader has it. A server that was the leader, and stood still while another one became it, answers as the
 * leader for some time afterwards: what is shorter than what we have seen is asked again.
 */
export async function stateOf(stream: OpenStream): Promise<{ readonly state: BoundsOfStream; readonly leader: string; readonly epoch: string | undefined }> {
  for (let tries = 1; ; tries += 1) {
    // As of the question: what is acked while it is under way may be more.
    const { head } = stream.seen;
    const info = await stream.link.ask<StreamInfo>(`STREAM.INFO.${stream.name}`);
    const { state, cluster } = info;
    const epoch = epochOf(info);
    if (epoch !== stream.epoch || state.last_seq >= head) {
      if (epoch === stream.epoch) stream.seen.head = Math.max(stream.seen.head, state.last_seq);
      return { state, leader: cluster?.leader ?? '', epoch };
    }
    if (tries === STALE_TRIES) throw new LogError('LOG_UNAVAILABLE', `The stream ${stream.name} ends before an event that it has stored: a server answers that is not its leader any more, or it was restored from a copy.`);
    await sleep(STALE_PAUSE_MS);
  }
}

/** Of a stream whose settings we may not write it is when it was made, in letters that a position is made of. */
const epochOf = ({ config, created }: StreamInfo): string => config.metadata?.[EPOCH_KEY] ?? `created-${created.replaceAll(/[^0-9A-Za-z]/g, '')}`;

/** True when the stream itself is not there any more. */
export const isStreamUnknown = (error: unknown): boolean => error instanceof ApiFault && error.code === STREAM_UNKNOWN;

/** What the API or the link threw as the error that callers of the log know. */
export function asLogError(error: unknown): LogError {
  if (error instanceof LogError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new LogError('LOG_UNAVAILABLE', `JetStream did not do it: ${text}.`, { cause: error });
}

async function findOrMake(link: JetStreamLink, { settings, epoch, mayRecreate, log }: StreamMaking): Promise<StreamInfo> {
  const wanted = configOf(settings);
  try {
    return await bringUpToDate(link, await link.ask<StreamInfo>(`STREAM.INFO.${settings.stream}`), { wanted, log });
  } catch (error) {
    if (!isStreamUnknown(error)) throw error;
  }
  if (epoch !== undefined && !mayRecreate) {
    throw new LogError('LOG_UNAVAILABLE', `The stream ${settings.stream} of the event log is gone: somebody deleted it. It is not made anew by itself, because its events are lost; restart the process to begin an empty log.`);
  }
  try {
    const replicas = settings.replicas ?? (link.isClustered ? CLUSTER_REPLICAS : 1);
    const made = await link.api<StreamInfo>(`STREAM.CREATE.${settings.stream}`, { ...wanted, num_replicas: replicas, metadata: { [EPOCH_KEY]: randomUUID() } });
    log('info', 'Made the stream of the event log', { stream: settings.stream, replicas });
    return made;
  } catch (error) {
    if (!(error instanceof ApiFault) || error.code !== STREAM_DIFFERS) throw error;
    return bringUpToDate(link, await link.ask<StreamInfo>(`STREAM.INFO.${settings.stream}`), { wanted, log });
  }
}

function configOf({ stream, replicas, duplicateWindowMs, streamMaxBytes }: JetStreamSettings) {
  return {
    name: stream,
    subjects: [LOG_SUBJECTS],
    description: 'Carillon event log',
    storage: 'file',
    retention: 'limits',
    // A full log refuses: nothing that was acked is deleted unless retention says so.
    discard: 'new',
    max_bytes: streamMaxBytes,
    ...(replicas === undefined ? {} : { num_replicas: replicas }),
    duplicate_window: duplicateWindowMs * NANOS_PER_MS,
    allow_direct: true,
    republish: REPUBLISH,
  } satisfies Partial<StreamConfig>;
}

type WantedConfig = ReturnType<typeof configOf>;

async function bringUpToDate(link: JetStreamLink, info: StreamInfo, { wanted, log }: { readonly wanted: WantedConfig; readonly log: StreamMaking['log'] }): Promise<StreamInfo> {
  const { config } = info;
  const differs = (Object.keys(wanted) as (keyof WantedConfig)[]).filter((key) => !isSame(config[key], wanted[key]));
  const hasEpoch = config.metadata?.[EPOCH_KEY] !== undefined;
  if (differs.length === 0 && hasEpoch) return info;
  const fields = { stream: config.name, differs };
  try {
    const metadata = { ...config.metadata, ...(hasEpoch ? {} : { [EPOCH_KEY]: randomUUID() }) };
    const updated = await link.api<StreamInfo>(`STREAM.UPDATE.${config.name}`, { ...config, ...wanted, metadata });
    log('info', 'The stream of the event log had other settings and was updated', fields);
    return updated;
  } catch (error) {
    if (!(error instanceof ApiFault)) throw error;
    log('warn', 'The stream of the event log has other settings, which the server does not change: it is used as it is', { ...fields, reason: error.message });
    if (differs.includes('subjects') || differs.includes('republish')) {
      throw new LogError('LOG_UNAVAILABLE', `The stream ${config.name} is not the event log's: its subjects or its republishing differ, and cannot be changed: ${error.message}.`, { cause: error });
    }
    return info;
  }
}

const isSame = (one: unknown, other: unknown): boolean => (typeof other === 'object' ? JSON.stringify(one) === JSON.stringify(other) : one === other);

const goneOf = (stream: string): string => `${stream}_GONE`;

async function makeGone(link: JetStreamLink, { stream, replicas }: { readonly stream: string; readonly replicas: number }): Promise<void> {
  const config = { name: goneOf(stream), subjects: GONE_SUBJECTS, description: 'What retention has deleted of the event log', storage: 'file', retention: 'limits', num_replicas: replicas, max_msgs_per_subject: 1 };
  try {
    await link.ask(`STREAM.INFO.${config.name}`);
  } catch (error) {
    if (!isStreamUnknown(error)) throw error;
    await link.api(`STREAM.CREATE.${config.name}`, config);
  }
}

function explained(error: unknown, link: JetStreamLink, stream: string): LogError {
  const isOff = (error instanceof ApiFault && JETSTREAM_OFF.has(error.code)) || (error instanceof LogError && !link.hasJetStream);
  if (isOff) return new LogError('LOG_UNAVAILABLE', 'The NATS server has no JetStream, in which the event log is kept: turn it on (`jetstream` in its configuration, or for the account).', { cause: error });
  if (error instanceof ApiFault && error.code === SUBJECTS_TAKEN) return new LogError('LOG_UNAVAILABLE', `Another stream than ${stream} has the event log's subjects ${LOG_SUBJECTS}: ${error.message}.`, { cause: error });
  return asLogError(error);
}

function isAtLeast(version: string, [wantedMajor, wantedMinor]: readonly [number, number]): boolean {
  const match = /^v?(\d+)\.(\d+)/.exec(version);
  const [major, minor] = [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0)];
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
