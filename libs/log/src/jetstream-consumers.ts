import { LogError, type ConsumerSpec } from './event-log.ts';
import { ApiFault } from './jetstream-link.ts';
import type { OpenStream } from './jetstream-stream.ts';
import { filtersOf, requireName } from './jetstream-subjects.ts';

/*
 * A consumer is a durable pull consumer of the stream, `<workspace>__<name>`, its spec kept in its metadata. JetStream never gives
 * an event up here (max_deliver -1): members do, so that it is dead somewhere first.
 */
const SPEC_KEY = 'carillon_spec';
const NANOS_PER_MS = 1_000_000;
const CONSUMER_UNKNOWN = 10_014;
const EXISTS_CODES: ReadonlySet<number> = new Set([10_013, 10_105, 10_148]);
const TRIES = 3;
/**
 * A member lets go of a delivery at its time, and says so; JetStream gives it to others by itself so much later: never two who may settle.
 * A new leader may know of the time of a delivery to the second only, and members by the last heartbeat before it (1 s).
 */
export const ACK_SLACK_MS = 2_500;
/** Of it, what a member does not count on. */
export const ACK_SLACK_KEPT_MS = 1_250;

export interface DurableInfo {
  readonly name: string;
  readonly config: { readonly metadata?: Readonly<Record<string, string>> };
  readonly ack_floor: { readonly stream_seq: number };
  readonly num_ack_pending: number;
  readonly num_pending: number;
}

interface ConsumerListing {
  readonly consumers: readonly DurableInfo[] | null;
  readonly total: number;
  /** There, but their leaders did not answer. */
  readonly missing?: readonly string[] | null;
}

export const durableName = ({ workspaceId, name }: Pick<ConsumerSpec, 'workspaceId' | 'name'>): string => `${workspaceId}__${name}`;

export const isConsumerUnknown = (error: unknown): boolean => error instanceof ApiFault && error.code === CONSUMER_UNKNOWN;

/**
 * Makes it where it is not there. What a server that is parted from the others does not know is not made anew: making takes a quorum of
 * those who know all consumers, and theirs is one of the same name. Rejects with CONSUMER_EXISTS when it is, with other settings than these.
 */
export async function ensureConsumer(stream: OpenStream, spec: ConsumerSpec): Promise<void> {
  requireName('workspace id', spec.workspaceId);
  requireName('consumer name', spec.name);
  for (let attempt = 1; ; attempt += 1) {
    const known = await infoOf(stream, spec);
    if (known !== undefined) return requireSame(known, spec);
    try {
      await stream.link.api(`CONSUMER.CREATE.${stream.name}.${durableName(spec)}`, { stream_name: stream.name, config: configOf(spec), action: 'create' });
      return;
    } catch (error) {
      // Another process made it in between.
      if (attempt === TRIES || !(error instanceof ApiFault) || !EXISTS_CODES.has(error.code)) throw error;
    }
  }
}

export async function infoOf(stream: OpenStream, spec: Pick<ConsumerSpec, 'workspaceId' | 'name'>): Promise<DurableInfo | undefined> {
  try {
    return await stream.link.ask<DurableInfo>(`CONSUMER.INFO.${stream.name}.${durableName(spec)}`);
  } catch (error) {
    if (isConsumerUnknown(error)) return undefined;
    throw error;
  }
}

export async function listConsumers(stream: OpenStream, workspaceId: string): Promise<readonly ConsumerSpec[]> {
  const specs: ConsumerSpec[] = [];
  for (let offset = 0; ; ) {
    const { consumers, total, missing } = await stream.link.ask<ConsumerListing>(`CONSUMER.LIST.${stream.name}`, { offset });
    // What is not listed would be taken for deleted.
    if ((missing?.length ?? 0) > 0) throw new LogError('LOG_UNAVAILABLE', `Not all consumers are listed: ${missing?.length ?? 0} of them did not answer.`);
    for (const info of consumers ?? []) {
      const spec = specOf(info);
      if (spec?.workspaceId === workspaceId) specs.push(spec);
    }
    offset += consumers?.length ?? 0;
    if ((consumers?.length ?? 0) === 0 || offset >= total) return specs;
  }
}

/** Rejects with CONSUMER_UNKNOWN. */
export async function deleteConsumer(stream: OpenStream, spec: Pick<ConsumerSpec, 'workspaceId' | 'name'>): Promise<void> {
  try {
    await stream.link.api(`CONSUMER.DELETE.${stream.name}.${durableName(spec)}`);
  } catch (error) {
    if (isConsumerUnknown(error)) throw new LogError('CONSUMER_UNKNOWN', `There is no consumer ${spec.name}.`, { cause: error });
    throw error;
  }
}

function configOf(spec: ConsumerSpec): object {
  return {
    durable_name: durableName(spec),
    ...startOf(spec.from),
    filter_subjects: filtersOf('log', spec.workspaceId, spec.rooms),
    ack_policy: 'explicit',
    ack_wait: (spec.ackTimeoutMs + ACK_SLACK_MS) * NANOS_PER_MS,
    max_deliver: -1,
    max_ack_pending: spec.maxInFlight,
    metadata: { [SPEC_KEY]: JSON.stringify(spec) },
  };
}

function startOf(from: ConsumerSpec['from']): object {
  if (from === 'start') return { deliver_policy: 'all' };
  if (from === 'now') return { deliver_policy: 'new' };
  if ('seq' in from) return { deliver_policy: 'by_start_sequence', opt_start_seq: from.seq + 1 };
  return { deliver_policy: 'by_start_time', opt_start_time: new Date(from.atMs).toISOString() };
}

function specOf({ config }: DurableInfo): ConsumerSpec | undefined {
  const text = config.metadata?.[SPEC_KEY];
  return text === undefined ? undefined : (JSON.parse(text) as ConsumerSpec);
}

function requireSame(info: DurableInfo, wanted: ConsumerSpec): void {
  if (!isOfSpec(info, wanted)) throw new LogError('CONSUMER_EXISTS', `A consumer ${wanted.name} is there with other settings.`);
}

/** Where it began counts only when it is made. */
export function isOfSpec(info: DurableInfo, wanted: ConsumerSpec): boolean {
  const known = specOf(info);
  return (
    known?.workspaceId === wanted.workspaceId && known.name === wanted.name && known.ackTimeoutMs === wanted.ackTimeoutMs && known.maxDeliveries === wanted.maxDeliveries && known.maxInFlight === wanted.maxInFlight &&
    JSON.stringify([...known.rooms].sort()) === JSON.stringify([...wanted.rooms].sort())
  );
}
