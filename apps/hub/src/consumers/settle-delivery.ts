import type { EventLog } from '@carillon/log';
import { CarillonError, type ControlFrame } from '@carillon/wire';

import type { OwedDelivery } from './consumer-delivery.ts';
import type { DelayedEvents } from '../delayed/delayed-events.ts';
import { returnTo } from './returned-events.ts';
import { DELAY_MAX_MS } from '../durable/system-log.ts';

/** How a member settles what it was given. */
export type SettleFrame = Extract<ControlFrame, { readonly op: 'ack' | 'nack' | 'defer' | 'discard' }>;

export interface SettleOptions {
  readonly log: EventLog;
  readonly delayed: Pick<DelayedEvents, 'add'>;
}

/** Resolves once it is kept. Rejects with the log's error, DELAY_INVALID, or DELAYED_EXCEEDED. */
export async function settleDelivery(delivery: OwedDelivery, frame: SettleFrame, options: SettleOptions): Promise<'acked' | 'nacked' | 'deferred' | 'discarded'> {
  switch (frame.op) {
    case 'ack':
      await delivery.ack();
      return 'acked';
    case 'nack':
      await delivery.nack({ delayMs: delayOf(frame), reason: frame.reason ?? 'nacked' });
      return 'nacked';
    case 'discard':
      await delivery.discard(frame.reason ?? 'discarded');
      return 'discarded';
    case 'defer':
      // First the copy: between the two a crash costs a repetition, not the event.
      await putOff(delivery, delayOf(frame), options);
      await delivery.ack();
      return 'deferred';
    default:
      return frame satisfies never;
  }
}

async function putOff(delivery: OwedDelivery, delayMs: number, { log, delayed }: SettleOptions): Promise<void> {
  if (delayMs === 0) await returnTo(log, delivery.again(), delivery.againId());
  else await delayed.add({ ...delivery.again(), dueMs: Date.now() + delayMs });
}

function delayOf({ delayMs = 0 }: { readonly delayMs?: number }): number {
  if (delayMs > DELAY_MAX_MS) throw new CarillonError('DELAY_INVALID', `at most ${DELAY_MAX_MS} ms`);
  return delayMs;
}
