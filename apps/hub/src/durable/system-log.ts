import type { EventLog, RetentionPolicy } from '@carillon/log';

/**
 * What a hub keeps about events is kept in the same log, beside them: each kind in a workspace of its own that no key belongs to.
 * A room there is a workspace, and what is behind a slash is a part of it.
 */
export const SYSTEM_WORKSPACES = {
  /** Events that a consumer gave up; rooms `<workspace>/<consumer>`. */
  dead: '_dead',
  /** Events that go to one consumer again, and to nobody else; rooms `<workspace>/<consumer>`. */
  returned: '_returned',
  /** Events that are not due yet; rooms `<workspace>`. */
  delayed: '_delayed',
  /** Who came into a room and left it; rooms `<workspace>`. */
  presence: '_presence',
  /** What became of events; rooms `<workspace>`. */
  trail: '_trail',
} as const;

export type SystemWorkspace = (typeof SYSTEM_WORKSPACES)[keyof typeof SYSTEM_WORKSPACES];

const DAY_MS = 86_400_000;
/** As long as events of rooms without a policy are kept by default. */
export const SYSTEM_MAX_AGE_MS = 7 * DAY_MS;
/** Of each workspace's part: what it says goes, oldest first, rather than fill the disk. Not of what waits to be due: that was promised. */
const PART_MAX_BYTES = 1_073_741_824;
/** The longest that an event may be delayed, and a day on top for hubs that were away when it was due. */
export const DELAY_MAX_MS = 6 * DAY_MS;

/** Has the log keep the system's own for a week, and nothing of workspaces that are deleted. */
export function keepSystemLogs(log: EventLog, deletedWorkspaces: ReadonlySet<string>): void {
  const deleted = [...deletedWorkspaces].flatMap((id): RetentionPolicy[] => [id, `${id}/**`].map((pattern) => ({ pattern, maxAgeMs: 0, maxBytes: null })));
  for (const workspaceId of Object.values(SYSTEM_WORKSPACES)) log.setRetention(workspaceId, [...deleted, { pattern: '*', maxAgeMs: SYSTEM_MAX_AGE_MS, maxBytes: workspaceId === SYSTEM_WORKSPACES.delayed ? null : PART_MAX_BYTES }]);
}
