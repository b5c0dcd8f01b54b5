import type { Route } from '../http/route.ts';
import { auditRoutes } from './audit.ts';
import { deviceRoutes } from './devices.ts';
import { eventDefinitionRoutes } from './event-definitions.ts';
import { keyRoutes } from './keys.ts';
import { memberRoutes } from './members.ts';
import { roomRoutes } from './rooms.ts';
import { workspaceRoutes } from './workspaces.ts';

/** Workspaces and all that is in them. The feed's own routes need to know the hubs: `feedRoutes` makes them. */
export const resourceRoutes: readonly Route[] = [
  ...workspaceRoutes, ...memberRoutes, ...keyRoutes, ...eventDefinitionRoutes, ...roomRoutes, ...deviceRoutes, ...auditRoutes,
];

export { feedRoutes } from './feed.ts';
