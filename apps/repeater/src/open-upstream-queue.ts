import { join } from 'node:path';

import { openOutbox, type Outbox, type OutboxEvent } from '@carillon/log/outbox';
import type { Logger } from '@carillon/runtime';
import { createEventIds } from '@carillon/wire';

import type { RepeaterConfig } from './config.ts';
import { MemoryQueue } from './memory-queue.ts';
import type { RepeaterCounts } from './metrics.ts';
import { OutboxQueue } from './outbox-queue.ts';
import type { UpstreamQueue } from './upstream-queue.ts';

/** The upstream queue that the configuration asks for, and its outbox when that is on disk. */
export interface OpenUpstreamQueue {
  readonly queue: UpstreamQueue;
  readonly outbox: Outbox | undefined;
}

/** A hub on a cluster that elects a leader answers within seconds. */
const ANSWER_TIMEOUT_MS = 60_000;

/** Rejects LOG_UNAVAILABLE when the outbox is in another process's hands or cannot be opened. */
export async function openUpstreamQueue(config: RepeaterConfig, { counts, log }: { readonly counts: RepeaterCounts; readonly log: Logger }): Promise<OpenUpstreamQueue> {
  const { hub, outbox: settings } = config;
  const now = (): number => performance.now();
  if (settings.kind === 'memory') return { queue: new MemoryQueue({ maxBytes: hub.queueMaxBytes, now, counts }), outbox: undefined };
  const { maxBytes, overflow, drainEventsPerSecond } = settings;
  const outbox = await openOutbox({ dir: join(config.common.dataDir, 'outbox'), log, maxBytes, overflow, waitingMaxBytes: hub.queueMaxBytes, keyOf: eventKeyOf });
  log.info({ frames: outbox.frames, bytes: outbox.bytes, dead: outbox.deadFrames }, 'the outbox is open');
  const nextId = createEventIds({ now: Date.now, random40: () => Math.floor(Math.random() * 2 ** 40) });
  const backoff = { firstMs: hub.retryFirstMs, capMs: hub.retryCapMs, factor: 2, random: Math.random };
  return { outbox, queue: new OutboxQueue({ outbox, maxBytes, drainEventsPerSecond, answerTimeoutMs: ANSWER_TIMEOUT_MS, nextId, clock: Date.now, now, backoff, counts, log }) };
}

/** What an event is the latest of: its `key`, with the device that it is about where it names one. */
export function eventKeyOf({ frame, tagEnd }: OutboxEvent): string | undefined {
  try {
    const body: unknown = JSON.parse(Buffer.from(frame.subarray(tagEnd + 1)).toString('utf8'));
    if (typeof body !== 'object' || body === null || !('key' in body) || typeof body.key !== 'string') return undefined;
    const target = 'target-device' in body ? body['target-device'] : undefined;
    const device = typeof target === 'object' && target !== null && 'deviceID' in target && typeof target.deviceID === 'string' ? target.deviceID : '';
    return JSON.stringify([body.key, device]);
  } catch {
    return undefined;
  }
}
