/** What became of a delivery to a consumer's member, as the metric names it. */
export type DeliveryOutcome = 'delivered' | 'acked' | 'nacked' | 'deferred' | 'discarded' | 'timed-out' | 'denied' | 'set-back' | 'redriven';

/** What a hub counts of its consumers' members, all workspaces together. */
export class ConsumerCounts {
  members = 0;
  /** Bytes of the deliveries that members of this hub have unsettled. */
  unsettledBytes = 0;
  /** Events given up for good. */
  deadLetters = 0;
  /** Deliveries that were settled a second time, too late, or by somebody else. */
  unknown = 0;
  readonly outcomes: Record<DeliveryOutcome, number> = { delivered: 0, acked: 0, nacked: 0, deferred: 0, discarded: 0, 'timed-out': 0, denied: 0, 'set-back': 0, redriven: 0 };
}
