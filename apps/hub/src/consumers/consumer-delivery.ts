import { createHash } from 'node:crypto';

import type { Delivery, StoredEvent } from '@carillon/log';

import { decodeHeld } from '../delayed/held-event.ts';
import type { ReturnedEvent } from './returned-events.ts';

/** Where a delivery comes from: the rooms of the consumer, or what comes again to it alone. */
export type DeliverySource = 'own' | 'returned';

/** A delivery as a member of a consumer is given it. */
export interface OwedDelivery {
  /** As it was published, but for the sequence of one that comes again, which is its copy's: a sequence names one delivery. */
  readonly event: StoredEvent;
  /** Counted over all copies of the event. */
  readonly attempt: number;
  ack(): Promise<void>;
  /** Due again after so long; after the last attempt it is dead. */
  nack(options: { readonly delayMs: number; readonly reason: string }): Promise<void>;
  discard(reason: string): Promise<void>;
  /** What goes to the consumer again in its place, as if this attempt had not been. */
  readonly again: () => ReturnedEvent;
  /** Names that copy: the same delivery is put off once, however often it is tried. */
  readonly againId: () => string;
}

export interface DeliveryFacts {
  readonly consumer: string;
  readonly maxDeliveries: number;
}

/** Undefined: a copy that this version did not write. */
export function owedOf(delivery: Delivery, source: DeliverySource, facts: DeliveryFacts): OwedDelivery | undefined {
  return source === 'own' ? ownDelivery(delivery, facts) : returnedDelivery(delivery, facts);
}

function ownDelivery(delivery: Delivery, { consumer }: DeliveryFacts): OwedDelivery {
  const { event, attempt } = delivery;
  return {
    event, attempt,
    ack: () => delivery.ack(), nack: (options) => delivery.nack(options), discard: (reason) => delivery.discard(reason),
    again: () => returnedEvent(event, { consumer, seq: event.seq, attempts: attempt - 1 }),
    againId: () => againId(delivery, consumer),
  };
}

function returnedDelivery(delivery: Delivery, { consumer, maxDeliveries }: DeliveryFacts): OwedDelivery | undefined {
  const held = decodeHeld(delivery.event.body);
  if (held === undefined) return undefined;
  const { workspaceId, room, id, atMs, fields, body, expiresAtMs } = held;
  const event: StoredEvent = { ...delivery.event, workspaceId, room, id, atMs, fields, body, expiresAtMs };
  // Attempts at copies before this one count too, which the log does not know.
  const attempt = (held.attempts ?? 0) + delivery.attempt;
  return {
    event, attempt,
    ack: () => delivery.ack(),
    nack: (options) => (attempt >= maxDeliveries ? delivery.discard(options.reason) : delivery.nack(options)),
    discard: (reason) => delivery.discard(reason),
    again: () => returnedEvent(event, { consumer, seq: held.seq, attempts: attempt - 1 }),
    againId: () => againId(delivery, consumer),
  };
}

function returnedEvent({ workspaceId, room, id, atMs, fields, body, expiresAtMs }: StoredEvent, more: Pick<ReturnedEvent, 'consumer' | 'seq' | 'attempts'>): ReturnedEvent {
  return { workspaceId, room, id, atMs, fields, body, expiresAtMs, ...more };
}

function againId({ event: { workspaceId, seq, storedAtMs }, attempt }: Delivery, consumer: string): string {
  return createHash('sha256').update(`${workspaceId}/${consumer}/${seq}/${storedAtMs}/${attempt}`).digest('base64url');
}
