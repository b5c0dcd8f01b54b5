import type { MetricDefinition, Metrics } from '@carillon/runtime';
import type { Store } from '@carillon/store';

import type { ManagerCounts } from './counts.ts';
import type { FeedCounts } from './feed/feed.ts';
import type { Hubs } from './feed/hubs.ts';

/** Everything a config-manager's /metrics shows besides what every process does. */
export const configManagerMetricDefinitions = {
  requests: { name: 'carillon_config_manager_requests_total', kind: 'counter', labels: ['route', 'status'], help: 'Requests answered, by route (none: no route of the API) and status.' },
  refused: { name: 'carillon_config_manager_refused_total', kind: 'counter', labels: ['code'], help: 'Requests refused, by code of the error catalogue.' },
  signIns: { name: 'carillon_config_manager_sign_ins_total', kind: 'counter', help: 'Sessions opened.' },
  auditCoalesced: { name: 'carillon_config_manager_audit_coalesced_total', kind: 'counter', labels: ['action'], help: 'Denials that were not written into the audit log because one like them just was, by action.' },
  storeQueries: { name: 'carillon_config_manager_store_queries_total', kind: 'counter', help: 'Queries sent to PostgreSQL.' },
  storeFailures: { name: 'carillon_config_manager_store_failures_total', kind: 'counter', help: 'Queries that failed.' },
  storeUp: { name: 'carillon_config_manager_store_up', kind: 'gauge', help: '1 while PostgreSQL answers.' },
  feedLeading: { name: 'carillon_config_manager_feed_leading', kind: 'gauge', help: '1 while this process is the one that tells hubs of changes.' },
  feedPending: { name: 'carillon_config_manager_feed_pending', kind: 'gauge', help: 'Changes that hubs cannot know of yet; known to the process that leads.' },
  feedOldestPending: { name: 'carillon_config_manager_feed_oldest_pending_seconds', kind: 'gauge', help: 'For how long the oldest of them has been waiting, in seconds.' },
  feedPublished: { name: 'carillon_config_manager_feed_published_total', kind: 'counter', help: 'Records put where hubs watch.' },
  feedFailures: { name: 'carillon_config_manager_feed_failures_total', kind: 'counter', help: 'Tries to put records, or to look whether they are there, that failed; each is tried again.' },
  feedIgnored: { name: 'carillon_config_manager_feed_ignored_total', kind: 'counter', help: 'Reports of hubs and of uses of keys that were malformed or too many.' },
  keyUses: { name: 'carillon_config_manager_key_uses_total', kind: 'counter', help: 'Last uses of keys written down.' },
  hubs: { name: 'carillon_config_manager_hubs', kind: 'gauge', help: 'Hubs heard of in the last half minute.' },
} as const satisfies Record<string, MetricDefinition>;

export interface ManagerGauges {
  readonly counts: ManagerCounts;
  readonly store: Store;
  readonly isStoreUp: () => boolean;
  readonly feed: FeedCounts;
  readonly hubs: Hubs;
}

export function observeConfigManager(metrics: Metrics, { counts, store, isStoreUp, feed, hubs }: ManagerGauges): void {
  const of = configManagerMetricDefinitions;
  metrics.observe(of.requests, () => [...counts.requests].map(({ route, status, count }) => ({ value: count, labels: { route, status } })));
  metrics.observe(of.refused, () => counts.refused.samples('code'));
  metrics.observe(of.signIns, () => counts.signIns);
  metrics.observe(of.auditCoalesced, () => counts.auditCoalesced.samples('action'));
  metrics.observe(of.storeQueries, () => store.counts.queries);
  metrics.observe(of.storeFailures, () => store.counts.failures);
  metrics.observe(of.storeUp, () => (isStoreUp() ? 1 : 0));
  metrics.observe(of.feedLeading, () => feed.leading);
  metrics.observe(of.feedPending, () => feed.pending);
  metrics.observe(of.feedOldestPending, () => feed.oldestPendingMs / 1_000);
  metrics.observe(of.feedPublished, () => feed.published);
  metrics.observe(of.feedFailures, () => feed.failures);
  metrics.observe(of.feedIgnored, () => feed.ignored);
  metrics.observe(of.keyUses, () => feed.keyUses);
  metrics.observe(of.hubs, () => hubs.list().length);
}
