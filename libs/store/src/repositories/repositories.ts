import type { Connection } from '../database.ts';
import { AuditLog } from './audit-log.ts';
import { Definitions } from './definitions.ts';
import { Devices } from './devices.ts';
import { Feed } from './feed.ts';
import { Idempotency } from './idempotency.ts';
import { Keys } from './keys.ts';
import { KnownSources } from './known-sources.ts';
import { Members } from './members.ts';
import { RoomPolicies } from './room-policies.ts';
import { Sessions } from './sessions.ts';
import { Users } from './users.ts';
import { Workspaces } from './workspaces.ts';

/** What the store and each of its transactions have. */
export interface Repositories {
  readonly workspaces: Workspaces;
  readonly users: Users;
  readonly members: Members;
  readonly sessions: Sessions;
  readonly keys: Keys;
  readonly definitions: Definitions;
  readonly roomPolicies: RoomPolicies;
  readonly devices: Devices;
  readonly audit: AuditLog;
  readonly idempotency: Idempotency;
  readonly knownSources: KnownSources;
  readonly feed: Feed;
}

export function repositoriesOn(db: Connection): Repositories {
  return {
    workspaces: new Workspaces(db), users: new Users(db), members: new Members(db), sessions: new Sessions(db), keys: new Keys(db), definitions: new Definitions(db),
    roomPolicies: new RoomPolicies(db), devices: new Devices(db), audit: new AuditLog(db), idempotency: new Idempotency(db), knownSources: new KnownSources(db), feed: new Feed(db),
  };
}
