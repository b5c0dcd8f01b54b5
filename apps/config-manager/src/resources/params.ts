import { z } from 'zod';

/** Ids as they stand in paths and queries: any text, since one that is no id names nothing. */
export const id = z.string().max(512);

export const workspaceParams = z.strictObject({ workspaceId: id.meta({ description: 'Id of the workspace' }) });
