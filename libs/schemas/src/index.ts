export { parseJsonBody, type JsonBody } from './json-body.ts';
export { type FieldFault } from './field-fault.ts';
export { cloudEvent, readCloudEvent, type CloudEvent, type ReadCloudEvent } from './cloud-event.ts';
export { readRoomEvent, type ReadRoomEvent } from './read-room-event.ts';
export { basicDevice, basicRoom, deviceFromId, EVENT_TAGS, roomEvent, roomFromId, type BasicDevice, type BasicRoom, type RoomEvent } from './room-event.ts';
export {
  FEED_APPLIED_SUBJECT, FEED_BEAT_SUBJECT, FEED_BUCKET, feedEntry, feedKey, feedRecord, KEYS_USED_SUBJECT,
  type DefinitionEntry, type DeviceEntry, type FeedEntry, type FeedRecord, type KeyEntry, type RoomEntry, type WorkspaceEntry,
} from './access-feed.ts';
export { ALL_PERMISSIONS, eventNamePattern, NO_PERMISSIONS, permissionRule, permissions, roomPattern, type PermissionRule, type Permissions } from './permissions.ts';
export { usageLimits, type UsageLimits } from './usage-limits.ts';
export { auditQuery, auditRecord, type AuditQuery, type AuditRecord } from './resources/audit.ts';
export { device, deviceCreate, deviceUpdate, type Device, type DeviceCreate, type DeviceUpdate } from './resources/device.ts';
export {
  eventDefinition, eventDefinitionCreate, eventDefinitionUpdate, eventName, jsonSchema, type EventDefinition, type EventDefinitionCreate, type EventDefinitionUpdate,
} from './resources/event-definition.ts';
export {
  ACTIONS, key, KEY_KINDS, keyCreate, keyKind, keyRotate, keyUpdate, keyWithSecret, resourcePermissions, RESOURCES,
  type AccessKey, type AccessKeyCreate, type AccessKeyUpdate, type AccessKeyWithSecret, type Action, type KeyKind, type Resource, type ResourcePermissions,
} from './resources/key.ts';
export { member, memberCreate, memberUpdate, role, ROLES, type Member, type MemberCreate, type MemberUpdate, type Role } from './resources/member.ts';
export { description, displayName, PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, pageOf, pageQuery, type Page, type PageQuery } from './resources/page.ts';
export { retention, roomLane, roomPolicy, roomPolicyCreate, roomPolicyUpdate, type RoomLane, type RoomPolicy, type RoomPolicyCreate, type RoomPolicyUpdate } from './resources/room-policy.ts';
export { session, sessionCreate, sessionCreated, type Session, type SessionCreated } from './resources/session.ts';
export { password, passwordChange, user, userCreate, username, userUpdate, type User, type UserCreate, type UserUpdate } from './resources/user.ts';
export {
  DEFAULT_WORKSPACE_ID, validationMode, workspace, WORKSPACE_DEPTH_MAX, workspaceCreate, workspaceName, workspaceUpdate,
  type ValidationMode, type Workspace, type WorkspaceCreate, type WorkspaceUpdate,
} from './resources/workspace.ts';
