import { Tally } from '@carillon/runtime';
import type { DropReason, ErrorCode } from '@carillon/wire';

import { ConsumerCounts } from './consumers/consumer-counts.ts';

export type EventSource = 'messenger' | 'repeater' | 'hub' | 'http' | 'cluster';

/** What a hub counts, as plain numbers: a metric reads them when it is asked for. */
export class HubCounts {
  /** Events taken, by where they came from, and their bytes. Plain fields: these two are counted for every event. */
  readonly received: Record<EventSource, number> = { messenger: 0, repeater: 0, hub: 0, http: 0, cluster: 0 };
  readonly receivedBytes: Record<EventSource, number> = { messenger: 0, repeater: 0, hub: 0, http: 0, cluster: 0 };
  /** What was refused, by code of the catalogue. */
  readonly refused = new Tally();
  /** Events that somebody did not get, by reason. */
  readonly dropped = new Tally();
  /** Connections that ended, by our code, or the close code when the peer ended it. */
  readonly closed = new Tally();
  /** Events that did not fit their definition, by what became of them. */
  readonly unfit: Record<'warn' | 'reject', number> = { warn: 0, reject: 0 };
  /** Events of this hub that the log has stored. */
  stored = 0;
  /** Of members of durable consumers. */
  readonly consumers = new ConsumerCounts();
  /** Messages sent to other hubs of the cluster. */
  clusterMessages = 0;
  /** Records of the access feed that could not be read. */
  malformedRecords = 0;

  take(source: EventSource, bytes: number): void {
    this.received[source] += 1;
    this.receivedBytes[source] += bytes;
  }

  refuse(code: ErrorCode): void {
    this.refused.add(code);
  }

  drop(reason: DropReason, events: number): void {
    if (events > 0) this.dropped.add(reason, events);
  }
}
