import type { AccessCopy } from '@carillon/access';
import { Tally, type MetricDefinition, type Metrics } from '@carillon/runtime';
import type { DropReason, ErrorCode } from '@carillon/wire';

export type FrameSource = 'device' | 'hub' | 'http' | 'target';
export type TargetKind = 'device' | 'socket' | 'http';

/** What a repeater counts, as plain numbers: a metric reads them when it is asked for. */
export class RepeaterCounts {
  /** Frames taken and their bytes, by where they came from. */
  readonly received = new Tally();
  readonly receivedBytes = new Tally();
  /** What was refused or closed by us, by code of the catalogue. */
  readonly refused = new Tally();
  /** Events that somebody did not get, by reason. */
  readonly dropped = new Tally();
  /** Events given to send list targets, and those they did not get, by kind of target. */
  readonly delivered = new Tally();
  readonly failed = new Tally();
  /** What the hub refused of this repeater, by code. */
  readonly hubRefused = new Tally();
  /** Records of the access feed that were not taken, by reason: malformed, or a stranger's. */
  readonly feedRefused = new Tally();
  upstreamFrames = 0;
  upstreamBytes = 0;

  take(source: FrameSource, bytes: number): void {
    this.received.add(source);
    this.receivedBytes.add(source, bytes);
  }

  refuse(code: ErrorCode): void {
    this.refused.add(code);
  }

  drop(reason: DropReason, events: number): void {
    if (events > 0) this.dropped.add(reason, events);
  }

  /** Events that were for a target and are lost. */
  fail(kind: TargetKind, reason: DropReason, events: number): void {
    if (events === 0) return;
    this.failed.add(kind, events);
    this.drop(reason, events);
  }
}

const definitions = {
  received: { name: 'carillon_repeater_received_frames_total', kind: 'counter', labels: ['source'], help: 'Event frames taken, by source: device, hub, http (POST /send), target (down a connection this repeater opened).' },
  receivedBytes: { name: 'carillon_repeater_received_bytes_total', kind: 'counter', labels: ['source'], help: 'Bytes of the event frames taken, by source.' },
  refused: { name: 'carillon_repeater_refused_total', kind: 'counter', labels: ['code'], help: 'Frames, joins and requests that were refused and connections this side closed, by error code.' },
  dropped: { name: 'carillon_repeater_dropped_events_total', kind: 'counter', labels: ['reason'], help: 'Events that somebody who was to get them did not get, by reason.' },
  upstreamFrames: { name: 'carillon_repeater_upstream_frames_total', kind: 'counter', help: 'Frames handed to the connection to the hub.' },
  upstreamBytes: { name: 'carillon_repeater_upstream_bytes_total', kind: 'counter', help: 'Bytes of the frames handed to the connection to the hub.' },
  localDeliveries: { name: 'carillon_repeater_device_deliveries_total', kind: 'counter', help: 'Events handed to connections of joined devices, by local rooms or by the send list.' },
  targetDeliveries: { name: 'carillon_repeater_target_deliveries_total', kind: 'counter', labels: ['target'], help: 'Events given to send list targets, by kind of target: device (joined), socket (dialled), http.' },
  targetFailures: { name: 'carillon_repeater_target_failures_total', kind: 'counter', labels: ['target'], help: 'Events that send list targets did not get, by kind of target.' },
  hubRefused: { name: 'carillon_repeater_hub_refused_total', kind: 'counter', labels: ['code'], help: 'Joins and events that the hub refused this repeater, and connections it closed for its key, by error code.' },
  accessRecords: { name: 'carillon_repeater_access_records', kind: 'gauge', help: 'Records in the copy of the access configuration, those of things that are gone included.' },
  accessSeq: { name: 'carillon_repeater_access_seq', kind: 'gauge', help: 'Position of the latest change in the copy of the access configuration; 0 when it is empty.' },
  accessFeedConnected: { name: 'carillon_repeater_access_feed_connected', kind: 'gauge', help: '1 while the hub\'s access feed is open and the copy was up to date with it, else 0.' },
  accessFeedRefused: { name: 'carillon_repeater_access_feed_refused_total', kind: 'counter', labels: ['reason'], help: 'Records of the access feed that were not taken, by reason: malformed, stranger (of another workspace).' },
  hubConnected: { name: 'carillon_repeater_hub_connected', kind: 'gauge', help: '1 while the connection to the hub is up, else 0.' },
  hubAhead: { name: 'carillon_repeater_hub_clock_ahead_seconds', kind: 'gauge', help: 'What the hub\'s clock is ahead of this machine\'s, as measured at the last join; 0 before, and without an outbox.' },
  queueBytes: { name: 'carillon_repeater_upstream_queue_bytes', kind: 'gauge', help: 'What frames waiting for the hub take, in bytes: of the disk, or of memory where the outbox is there.' },
  queueFrames: { name: 'carillon_repeater_upstream_queue_frames', kind: 'gauge', help: 'Frames that the hub does not have yet.' },
  queueOldest: { name: 'carillon_repeater_upstream_queue_oldest_seconds', kind: 'gauge', help: 'How long the oldest frame has waited for the hub, in seconds; 0 when none waits.' },
  outboxDead: { name: 'carillon_repeater_outbox_refused_events', kind: 'gauge', help: 'Events in the outbox that the hub refused for good, kept to be looked at: the last 1,000.' },
  outboxDamaged: { name: 'carillon_repeater_outbox_damaged_records_total', kind: 'counter', help: 'Records of the outbox that could not be read and were passed over.' },
  outboxReplaced: { name: 'carillon_repeater_outbox_replaced_events_total', kind: 'counter', help: 'Events in the outbox that a newer one of the same room and key took the place of (overflow keep-latest-per-key).' },
  outboxFailures: { name: 'carillon_repeater_outbox_failed_commits_total', kind: 'counter', help: 'Commits of the outbox that the disk did not take; their events were refused.' },
  devices: { name: 'carillon_repeater_devices', kind: 'gauge', help: 'Devices joined now.' },
  laneBytes: { name: 'carillon_repeater_lane_bytes', kind: 'gauge', help: 'Bytes waiting in the lanes of all devices.' },
  targetQueueBytes: { name: 'carillon_repeater_target_queue_bytes', kind: 'gauge', help: 'Memory that frames waiting for send list targets take, in bytes.' },
} as const satisfies Record<string, MetricDefinition>;

/** Every metric of this app, for generated docs. */
export const repeaterMetricDefinitions: readonly MetricDefinition[] = Object.values(definitions);

/** Numbers that are somebody's present state. */
export interface RepeaterGauges {
  readonly hubConnected: () => boolean;
  readonly upstreamQueue: { readonly heldBytes: number; readonly frames: number; readonly oldestAgeMs: number; readonly hubAheadMs?: number | undefined };
  readonly outbox: { readonly deadFrames: number; readonly counts: { readonly damaged: number; readonly replaced: number; readonly failedCommits: number } } | undefined;
  readonly devices: { readonly size: number };
  readonly lanes: { readonly queuedBytes: number };
  readonly targets: { readonly queuedBytes: number };
  readonly access: { readonly copy: AccessCopy; readonly feed: { readonly connected: boolean } };
  readonly batches: { readonly deliveries: number };
}

export function registerRepeaterMetrics(metrics: Metrics, counts: RepeaterCounts, gauges: RepeaterGauges): void {
  metrics.observe(definitions.received, () => counts.received.samples('source'));
  metrics.observe(definitions.receivedBytes, () => counts.receivedBytes.samples('source'));
  metrics.observe(definitions.refused, () => counts.refused.samples('code'));
  metrics.observe(definitions.dropped, () => counts.dropped.samples('reason'));
  metrics.observe(definitions.upstreamFrames, () => counts.upstreamFrames);
  metrics.observe(definitions.upstreamBytes, () => counts.upstreamBytes);
  metrics.observe(definitions.localDeliveries, () => gauges.batches.deliveries);
  metrics.observe(definitions.targetDeliveries, () => counts.delivered.samples('target'));
  metrics.observe(definitions.targetFailures, () => counts.failed.samples('target'));
  metrics.observe(definitions.hubRefused, () => counts.hubRefused.samples('code'));
  metrics.observe(definitions.accessRecords, () => [...gauges.access.copy.records()].length);
  metrics.observe(definitions.accessSeq, () => gauges.access.copy.seq);
  metrics.observe(definitions.accessFeedConnected, () => (gauges.access.feed.connected ? 1 : 0));
  metrics.observe(definitions.accessFeedRefused, () => counts.feedRefused.samples('reason'));
  metrics.observe(definitions.hubConnected, () => (gauges.hubConnected() ? 1 : 0));
  metrics.observe(definitions.hubAhead, () => (gauges.upstreamQueue.hubAheadMs ?? 0) / 1_000);
  metrics.observe(definitions.queueBytes, () => gauges.upstreamQueue.heldBytes);
  metrics.observe(definitions.queueFrames, () => gauges.upstreamQueue.frames);
  metrics.observe(definitions.queueOldest, () => gauges.upstreamQueue.oldestAgeMs / 1_000);
  metrics.observe(definitions.outboxDead, () => gauges.outbox?.deadFrames ?? 0);
  metrics.observe(definitions.outboxDamaged, () => gauges.outbox?.counts.damaged ?? 0);
  metrics.observe(definitions.outboxReplaced, () => gauges.outbox?.counts.replaced ?? 0);
  metrics.observe(definitions.outboxFailures, () => gauges.outbox?.counts.failedCommits ?? 0);
  metrics.observe(definitions.devices, () => gauges.devices.size);
  metrics.observe(definitions.laneBytes, () => gauges.lanes.queuedBytes);
  metrics.observe(definitions.targetQueueBytes, () => gauges.targets.queuedBytes);
}
