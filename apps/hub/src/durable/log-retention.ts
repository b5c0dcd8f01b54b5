import type { AccessCopy } from '@carillon/access';
import type { EventLog, RetentionPolicy } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import { feedKey } from '@carillon/schemas';
import { ALL_ROOMS } from '@carillon/wire';

import { unlessUnknown } from '../consumers/consumers.ts';
import { isReturnedOf } from '../consumers/returned-consumer.ts';
import { keepSystemLogs, SYSTEM_WORKSPACES } from './system-log.ts';

export interface LogRetentionOptions {
  readonly log: EventLog;
  readonly copy: AccessCopy;
  /** Of rooms that no policy names; 0: for ever. */
  readonly maxAgeMs: number;
  readonly logger: Logger;
}

/** Has the log keep what the room policies of each workspace say, now and whenever they change, and nothing of a workspace that was deleted. */
export function followRetention({ log, copy, maxAgeMs, logger }: LogRetentionOptions): { readonly of: (workspaceId: string) => void } {
  const fallback: RetentionPolicy = { pattern: ALL_ROOMS, maxAgeMs: maxAgeMs === 0 ? null : maxAgeMs, maxBytes: null };
  const of = (workspaceId: string): void => {
    const policies = copy.rooms(workspaceId).map(({ pattern, retention }): RetentionPolicy => ({ pattern, maxAgeMs: retention.maxAgeSeconds === null ? null : retention.maxAgeSeconds * 1_000, maxBytes: retention.maxBytes }));
    // Of equals the first counts: a policy for all rooms stands before the fallback.
    log.setRetention(workspaceId, [...policies, fallback]);
  };
  const deleted = new Set<string>();
  const follow = (workspaceId: string): void => {
    if (!wasDeleted(copy, workspaceId)) {
      // One that is made again keeps from now on what hubs keep about its events.
      if (deleted.delete(workspaceId)) keepSystemLogs(log, deleted);
      of(workspaceId);
    } else {
      keepSystemLogs(log, deleted.add(workspaceId));
      deleteWorkspace(log, workspaceId).then(
        () => logger.info({ workspace: workspaceId }, 'the events of a deleted workspace are gone'),
        (error: unknown) => logger.warn({ error, workspace: workspaceId }, 'the events of a deleted workspace could not be deleted; it is tried again at the next start'),
      );
    }
  };
  copy.onChange((change) => {
    if (change.type === 'room' || change.type === 'workspace') follow(change.workspaceId);
  });
  keepSystemLogs(log, deleted);
  for (const workspaceId of new Set([...copy.records()].map(([key]) => key.slice(0, key.indexOf('.'))))) follow(workspaceId);
  return { of };
}

/** Its rooms, and what hubs keep about their events. */
async function deleteWorkspace(log: EventLog, workspaceId: string): Promise<void> {
  await log.deleteWorkspace(workspaceId);
  for (const spec of await log.consumers(SYSTEM_WORKSPACES.returned)) {
    if (isReturnedOf(spec, workspaceId)) await log.deleteConsumer(SYSTEM_WORKSPACES.returned, spec.name).catch(unlessUnknown);
  }
  await log.sweep();
}

/** Said so by its record: of one that is merely not known nothing is deleted. */
export function wasDeleted(copy: AccessCopy, workspaceId: string): boolean {
  const ofWorkspace = feedKey({ type: 'workspace', workspaceId, id: workspaceId });
  for (const [key, { entry }] of copy.records(workspaceId)) if (key === ofWorkspace) return entry === null;
  return false;
}
