import { pageQuery, roomPolicy, roomPolicyCreate, roomPolicyUpdate } from '@carillon/schemas';

import { roomEntry } from '../feed/entries.ts';
import { thingRoutes } from './workspace-things.ts';

/** Policies of rooms, by pattern: how their events travel and how long they are kept. */
export const roomRoutes = thingRoutes({
  resource: 'rooms', kind: 'room', tag: 'Rooms',
  operation: { one: 'RoomPolicy', many: 'RoomPolicies' }, words: { one: 'a room policy', many: 'room policies' },
  schema: roomPolicy, create: roomPolicyCreate, update: roomPolicyUpdate, query: pageQuery,
  repository: ({ roomPolicies }) => roomPolicies,
  entry: roomEntry,
  label: ({ pattern }) => pattern,
});
