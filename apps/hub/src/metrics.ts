import type { MetricDefinition, Metrics, MetricSample } from '@carillon/runtime';
import type { BatchWriter, LaneGroup } from '@carillon/session';

import type { HubCounts } from './counts.ts';
import type { DelayedEvents } from './delayed/delayed-events.ts';
import type { HubAccess } from './access/hub-access.ts';
import type { PageTurns } from './durable/page-turns.ts';
import type { TrailKeeper } from './trail/trail-keeper.ts';
import type { Workspaces } from './workspaces.ts';

/** Everything a hub's /metrics shows besides what every process does. */
export const hubMetricDefinitions = {
  connections: { name: 'carillon_hub_connections', kind: 'gauge', labels: ['kind'], help: 'Peers connected now, by kind.' },
  received: { name: 'carillon_hub_events_received_total', kind: 'counter', labels: ['source'], help: 'Events taken, by where they came from.' },
  receivedBytes: { name: 'carillon_hub_event_bytes_received_total', kind: 'counter', labels: ['source'], help: 'Bytes of those events.' },
  deliveries: { name: 'carillon_hub_deliveries_total', kind: 'counter', help: 'Events given to the lane of a peer.' },
  writes: { name: 'carillon_hub_writes_total', kind: 'counter', help: 'Writes to peers; deliveries over writes is the size of a batch.' },
  refused: { name: 'carillon_hub_refused_total', kind: 'counter', labels: ['code'], help: 'Frames, handshakes and requests refused, by code of the error catalogue.' },
  dropped: { name: 'carillon_hub_events_dropped_total', kind: 'counter', labels: ['reason'], help: 'Deliveries that did not happen, by reason.' },
  unfit: { name: 'carillon_hub_events_unfit_total', kind: 'counter', labels: ['mode'], help: 'Events that did not fit their definition: passed on (warn) or refused (reject).' },
  closed: { name: 'carillon_hub_connections_closed_total', kind: 'counter', labels: ['cause'], help: 'Connections that ended, by our code, or by close code when the peer ended it.' },
  laneBytes: { name: 'carillon_hub_lane_queued_bytes', kind: 'gauge', help: 'Bytes waiting in all lanes.' },
  lanesBacklogged: { name: 'carillon_hub_lanes_backlogged', kind: 'gauge', help: 'Peers that have something waiting.' },
  links: { name: 'carillon_hub_links', kind: 'gauge', labels: ['state'], help: 'Hub links that this hub keeps, by state.' },
  clusterUp: { name: 'carillon_hub_cluster_connected', kind: 'gauge', help: '1 while the hub is connected to the NATS of its cluster; absent when it stands alone.' },
  clusterMessages: { name: 'carillon_hub_cluster_messages_sent_total', kind: 'counter', help: 'NATS messages sent to other hubs; each holds the events of one room and turn.' },
  clusterSubscriptions: { name: 'carillon_hub_cluster_subscriptions', kind: 'gauge', help: 'NATS subscriptions: the rooms somebody on this hub wants.' },
  stored: { name: 'carillon_hub_events_stored_total', kind: 'counter', help: 'Events of this hub that the log has stored.' },
  logOpen: { name: 'carillon_hub_log_open', kind: 'gauge', help: '1 while the event log can be reached; absent when this hub keeps none.' },
  trailKept: { name: 'carillon_hub_trail_facts_total', kind: 'counter', help: 'Facts kept of what became of events; absent without a trail.' },
  trailMissed: { name: 'carillon_hub_trail_facts_missed_total', kind: 'counter', help: 'Facts that were not kept: too many waited to be stored.' },
  catchUpsWaiting: { name: 'carillon_hub_catch_ups_waiting', kind: 'gauge', help: 'Readers of the log that wait for their turn to read a page.' },
  delayedWaiting: { name: 'carillon_hub_delayed_waiting', kind: 'gauge', help: 'Delayed events that wait to be due, of all hubs of the log together; absent when this hub keeps none.' },
  delayed: { name: 'carillon_hub_delayed_total', kind: 'counter', labels: ['outcome'], help: 'Delayed events of this hub: kept; fired into their room or returned to a consumer when due; moved to the end of the log while they wait; expired or dropped.' },
  presenceMembers: { name: 'carillon_hub_presence_members', kind: 'gauge', help: 'Members of rooms that came in at this hub.' },
  presenceWatchers: { name: 'carillon_hub_presence_watchers', kind: 'gauge', help: 'Watchers of who is in a room, at this hub.' },
  consumerMembers: { name: 'carillon_hub_consumer_members', kind: 'gauge', help: 'Members of durable consumers at this hub.' },
  consumerDeliveries: { name: 'carillon_hub_consumer_deliveries_total', kind: 'counter', labels: ['outcome'], help: 'Deliveries to members of durable consumers, and what became of them; unknown: settled twice, too late, or by somebody else.' },
  consumerUnsettled: { name: 'carillon_hub_consumer_unsettled_bytes', kind: 'gauge', help: 'Bytes of the deliveries that members of durable consumers have not settled.' },
  deadLetters: { name: 'carillon_hub_dead_letters_total', kind: 'counter', help: 'Events that a durable consumer gave up, kept as dead letters by this hub.' },
  workspaces: { name: 'carillon_hub_workspaces', kind: 'gauge', help: 'Workspaces that somebody uses at this hub.' },
  accessStale: { name: 'carillon_hub_access_stale', kind: 'gauge', help: '1 while the hub may be missing changes of access and so trusts no key.' },
  accessSeq: { name: 'carillon_hub_access_seq', kind: 'gauge', help: 'Position of the access feed up to which changes are in force here.' },
  accessRecords: { name: 'carillon_hub_access_records', kind: 'gauge', help: 'Records of the access feed that this hub decides from.' },
  accessMalformed: { name: 'carillon_hub_access_records_malformed_total', kind: 'counter', help: 'Records of the access feed that could not be read.' },
  accessReaders: { name: 'carillon_hub_access_feed_readers', kind: 'gauge', help: 'Repeaters that read the access feed here now.' },
} as const satisfies Record<string, MetricDefinition>;

export interface HubGauges {
  readonly counts: HubCounts;
  readonly group: LaneGroup;
  readonly writer: BatchWriter;
  readonly workspaces: Workspaces;
  readonly access: HubAccess;
  readonly turns: PageTurns;
  /** Absent when the hub keeps no log, or no trail. */
  readonly trails: TrailKeeper | undefined;
  /** Absent when the hub keeps no log. */
  readonly delayed: DelayedEvents | undefined;
  /** Absent when the hub keeps no log. */
  readonly isLogOpen: (() => boolean) | undefined;
  /** Absent when the hub stands alone. */
  readonly isClusterConnected: (() => boolean) | undefined;
}

export function observeHub(metrics: Metrics, { counts, group, writer, workspaces, access, trails, turns, delayed, isLogOpen, isClusterConnected }: HubGauges): void {
  const of = hubMetricDefinitions;
  metrics.observe(of.connections, () => [
    { value: workspaces.total(({ peers }) => peers.messengers.size), labels: { kind: 'messenger' } },
    { value: workspaces.total(({ peers }) => peers.repeaters.size), labels: { kind: 'repeater' } },
    { value: workspaces.total(({ peers }) => peers.hubs.size), labels: { kind: 'hub' } },
    { value: workspaces.total(({ tails }) => tails.size), labels: { kind: 'tail' } },
  ]);
  metrics.observe(of.received, () => samplesOf('source', counts.received));
  metrics.observe(of.receivedBytes, () => samplesOf('source', counts.receivedBytes));
  metrics.observe(of.deliveries, () => writer.counts.deliveries);
  metrics.observe(of.writes, () => writer.counts.writes);
  metrics.observe(of.refused, () => counts.refused.samples('code'));
  metrics.observe(of.dropped, () => counts.dropped.samples('reason'));
  metrics.observe(of.unfit, () => samplesOf('mode', counts.unfit));
  metrics.observe(of.closed, () => counts.closed.samples('cause'));
  metrics.observe(of.laneBytes, () => group.queuedBytes);
  metrics.observe(of.lanesBacklogged, () => group.backloggedLanes);
  metrics.observe(of.links, () => [
    { value: workspaces.total(({ links }) => links.up), labels: { state: 'up' } },
    { value: workspaces.total(({ links }) => links.size - links.up), labels: { state: 'down' } },
  ]);
  metrics.observe(of.clusterUp, () => (isClusterConnected === undefined ? [] : [{ value: isClusterConnected() ? 1 : 0 }]));
  metrics.observe(of.clusterMessages, () => (isClusterConnected === undefined ? [] : [{ value: counts.clusterMessages }]));
  metrics.observe(of.clusterSubscriptions, () => (isClusterConnected === undefined ? [] : [{ value: workspaces.total(({ cluster }) => cluster?.interest.subscriptions ?? 0) }]));
  metrics.observe(of.stored, () => counts.stored);
  metrics.observe(of.logOpen, () => (isLogOpen === undefined ? [] : [{ value: isLogOpen() ? 1 : 0 }]));
  metrics.observe(of.trailKept, () => trails?.counts.kept ?? []);
  metrics.observe(of.trailMissed, () => trails?.counts.missed ?? []);
  metrics.observe(of.catchUpsWaiting, () => turns.waiting);
  metrics.observe(of.delayedWaiting, () => (delayed === undefined ? [] : [{ value: delayed.waiting }]));
  metrics.observe(of.delayed, () => (delayed === undefined ? [] : samplesOf('outcome', { kept: delayed.kept, ...delayed.scheduler.counts })));
  metrics.observe(of.presenceMembers, () => workspaces.total(({ presence }) => presence?.members ?? 0));
  metrics.observe(of.presenceWatchers, () => workspaces.total(({ presence }) => presence?.watchers ?? 0));
  metrics.observe(of.consumerMembers, () => counts.consumers.members);
  metrics.observe(of.consumerDeliveries, () => samplesOf('outcome', { ...counts.consumers.outcomes, unknown: counts.consumers.unknown }));
  metrics.observe(of.consumerUnsettled, () => counts.consumers.unsettledBytes);
  metrics.observe(of.deadLetters, () => counts.consumers.deadLetters);
  metrics.observe(of.workspaces, () => workspaces.total(() => 1));
  metrics.observe(of.accessStale, () => (access.isStale ? 1 : 0));
  metrics.observe(of.accessSeq, () => access.copy.seq);
  metrics.observe(of.accessRecords, () => access.records);
  metrics.observe(of.accessMalformed, () => counts.malformedRecords);
  metrics.observe(of.accessReaders, () => access.relay.size);
}

function samplesOf(label: string, counts: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(counts).map(([name, value]) => ({ value, labels: { [label]: name } }));
}
