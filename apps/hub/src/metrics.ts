import type { MetricDefinition, Metrics, MetricSample } from '@carillon/runtime';
import type { BatchWriter, LaneGroup } from '@carillon/session';

import type { Cluster } from './cluster.ts';
import type { HubCounts } from './counts.ts';
import type { Links } from './links.ts';
import type { Peers } from './peers.ts';

/** Everything a hub's /metrics shows besides what every process does. */
export const hubMetricDefinitions = {
  connections: { name: 'carillon_hub_connections', kind: 'gauge', labels: ['kind'], help: 'Peers connected now, by kind.' },
  received: { name: 'carillon_hub_events_received_total', kind: 'counter', labels: ['source'], help: 'Events taken, by where they came from.' },
  receivedBytes: { name: 'carillon_hub_event_bytes_received_total', kind: 'counter', labels: ['source'], help: 'Bytes of those events.' },
  deliveries: { name: 'carillon_hub_deliveries_total', kind: 'counter', help: 'Events given to the lane of a peer.' },
  writes: { name: 'carillon_hub_writes_total', kind: 'counter', help: 'Writes to peers; deliveries over writes is the size of a batch.' },
  refused: { name: 'carillon_hub_refused_total', kind: 'counter', labels: ['code'], help: 'Frames, handshakes and requests refused, by code of the error catalogue.' },
  dropped: { name: 'carillon_hub_events_dropped_total', kind: 'counter', labels: ['reason'], help: 'Deliveries that did not happen, by reason.' },
  closed: { name: 'carillon_hub_connections_closed_total', kind: 'counter', labels: ['cause'], help: 'Connections that ended, by our code, or by close code when the peer ended it.' },
  laneBytes: { name: 'carillon_hub_lane_queued_bytes', kind: 'gauge', help: 'Bytes waiting in all lanes.' },
  lanesBacklogged: { name: 'carillon_hub_lanes_backlogged', kind: 'gauge', help: 'Peers that have something waiting.' },
  links: { name: 'carillon_hub_links', kind: 'gauge', labels: ['state'], help: 'Hub links that this hub keeps, by state.' },
  clusterUp: { name: 'carillon_hub_cluster_connected', kind: 'gauge', help: '1 while the hub is connected to the NATS of its cluster; absent when it stands alone.' },
  clusterMessages: { name: 'carillon_hub_cluster_messages_sent_total', kind: 'counter', help: 'NATS messages sent to other hubs; each holds the events of one room and turn.' },
  clusterSubscriptions: { name: 'carillon_hub_cluster_subscriptions', kind: 'gauge', help: 'NATS subscriptions: the rooms somebody on this hub wants.' },
} as const satisfies Record<string, MetricDefinition>;

export interface HubGauges {
  readonly counts: HubCounts;
  readonly peers: Peers;
  readonly group: LaneGroup;
  readonly writer: BatchWriter;
  readonly links: Links;
  readonly tails: () => number;
  readonly cluster: { readonly cluster: Cluster; readonly isConnected: () => boolean } | undefined;
}

export function observeHub(metrics: Metrics, { counts, peers, group, writer, links, tails, cluster }: HubGauges): void {
  const of = hubMetricDefinitions;
  metrics.observe(of.connections, () => [
    { value: peers.messengers.size, labels: { kind: 'messenger' } },
    { value: peers.repeaters.size, labels: { kind: 'repeater' } },
    { value: peers.hubs.size, labels: { kind: 'hub' } },
    { value: tails(), labels: { kind: 'tail' } },
  ]);
  metrics.observe(of.received, () => samplesOf(counts.received));
  metrics.observe(of.receivedBytes, () => samplesOf(counts.receivedBytes));
  metrics.observe(of.deliveries, () => writer.counts.deliveries);
  metrics.observe(of.writes, () => writer.counts.writes);
  metrics.observe(of.refused, () => counts.refused.samples('code'));
  metrics.observe(of.dropped, () => counts.dropped.samples('reason'));
  metrics.observe(of.closed, () => counts.closed.samples('cause'));
  metrics.observe(of.laneBytes, () => group.queuedBytes);
  metrics.observe(of.lanesBacklogged, () => group.backloggedLanes);
  metrics.observe(of.links, () => [
    { value: links.up, labels: { state: 'up' } },
    { value: links.size - links.up, labels: { state: 'down' } },
  ]);
  metrics.observe(of.clusterUp, () => (cluster === undefined ? [] : [{ value: cluster.isConnected() ? 1 : 0 }]));
  metrics.observe(of.clusterMessages, () => (cluster === undefined ? [] : [{ value: cluster.cluster.publishedMessages }]));
  metrics.observe(of.clusterSubscriptions, () => (cluster === undefined ? [] : [{ value: cluster.cluster.interest.subscriptions }]));
}

function samplesOf(counts: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(counts).map(([source, value]) => ({ value, labels: { source } }));
}
