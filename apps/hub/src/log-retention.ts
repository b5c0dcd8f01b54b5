import type { AccessCopy } from '@carillon/access';
import type { EventLog, RetentionPolicy } from '@carillon/log';
import { ALL_ROOMS } from '@carillon/wire';

export interface LogRetentionOptions {
  readonly log: EventLog;
  readonly copy: AccessCopy;
  /** Of rooms that no policy names; 0: for ever. */
  readonly maxAgeMs: number;
}

/** Has the log keep what the room policies of each workspace say, now and whenever they change. */
export function followRetention({ log, copy, maxAgeMs }: LogRetentionOptions): { readonly of: (workspaceId: string) => void } {
  const fallback: RetentionPolicy = { pattern: ALL_ROOMS, maxAgeMs: maxAgeMs === 0 ? null : maxAgeMs, maxBytes: null };
  const of = (workspaceId: string): void => {
    const policies = copy.rooms(workspaceId).map(({ pattern, retention }): RetentionPolicy => ({ pattern, maxAgeMs: retention.maxAgeSeconds === null ? null : retention.maxAgeSeconds * 1_000, maxBytes: retention.maxBytes }));
    // Of equals the first counts: a policy for all rooms stands before the fallback.
    log.setRetention(workspaceId, [...policies, fallback]);
  };
  copy.onChange((change) => {
    if (change.type === 'room' || change.type === 'workspace') of(change.workspaceId);
  });
  for (const workspaceId of new Set([...copy.records()].map(([key]) => key.slice(0, key.indexOf('.'))))) of(workspaceId);
  return { of };
}
