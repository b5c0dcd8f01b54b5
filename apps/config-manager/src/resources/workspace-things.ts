import { pageOf, type FeedEntry, type Page, type PageQuery, type Resource } from '@carillon/schemas';
import type { Repositories } from '@carillon/store';
import { CarillonError } from '@carillon/wire';
import { z } from 'zod';

import { route, type Route } from '../http/route.ts';
import { id, workspaceParams } from './params.ts';

interface Thing {
  readonly id: string;
  readonly workspaceId: string;
  readonly version: number;
}

interface Repository<T, C, U, Q> {
  get(id: string): Promise<T | undefined>;
  list(workspaceId: string, query: Q): Promise<Page<T>>;
  create(input: C & { readonly workspaceId: string }): Promise<T>;
  update(id: string, patch: U, expectedVersion?: number): Promise<T>;
  delete(id: string, expectedVersion?: number): Promise<T>;
}

/** A kind of thing that belongs to a workspace, is known to hubs, and has no rules but those of its fields. */
export interface ThingKind<T extends Thing, C extends z.ZodType, U extends z.ZodType, Q extends z.ZodType<PageQuery>> {
  readonly resource: Resource;
  /** As in `event-definition.create`, and in the feed. */
  readonly kind: FeedEntry['type'];
  /** As in `createEventDefinition`; the plural lists. */
  readonly operation: { readonly one: string; readonly many: string };
  /** For summaries: `an event definition`. */
  readonly words: { readonly one: string; readonly many: string };
  readonly tag: string;
  readonly schema: z.ZodType;
  readonly create: C;
  readonly update: U;
  readonly query: Q;
  readonly repository: (from: Repositories) => Repository<T, z.output<C>, z.output<U>, z.output<Q>>;
  readonly entry: (thing: T) => FeedEntry;
  readonly label: (thing: T) => string;
  /** Refuses what its schema cannot. */
  readonly check?: (fields: z.output<C> | z.output<U>) => void;
}

/** List, make, read, change and remove; every change goes into the feed. */
export function thingRoutes<T extends Thing, C extends z.ZodType, U extends z.ZodType, Q extends z.ZodType<PageQuery>>(of: ThingKind<T, C, U, Q>): readonly Route[] {
  const { resource, kind, operation, words, tag, schema, repository } = of;
  const path = `/workspaces/:workspaceId/${resource}` as const;
  const onePath = `${path}/:id` as const;
  const oneParams = workspaceParams.extend({ id });
  const answer = (status: 200 | 201, description: string) => ({ status, schema, description });
  const told = (thing: T) => ({ kind, id: thing.id, name: of.label(thing) });
  /** Another workspace's is not found, as if it did not exist. */
  const find = async (from: Repositories, thingId: string, workspaceId: string): Promise<T> => {
    const thing = await repository(from).get(thingId);
    if (thing?.workspaceId !== workspaceId) throw new CarillonError('RESOURCE_NOT_FOUND');
    return thing;
  };

  return [
    route({
      method: 'GET', path, name: `list${operation.many}`, summary: `List ${words.many}`, tag, access: { resource, action: 'read' },
      params: workspaceParams, query: of.query, answer: { status: 200, schema: pageOf(schema), description: 'A page of them' },
      handle: async ({ store, workspace, query }) => ({ body: await repository(store).list(workspace.id, query as z.output<Q>) }),
    }),
    route({
      method: 'POST', path, name: `create${operation.one}`, summary: `Make ${words.one}`, tag, access: { resource, action: 'create' },
      params: workspaceParams, body: of.create, answer: answer(201, 'What was made'), versioned: true, creates: true,
      handle: async (call) => {
        const body = call.body as z.output<C>;
        of.check?.(body);
        const workspaceId = call.workspace.id;
        const made = await call.change({ action: `${kind}.create`, workspaceId, resource: told, after: (thing) => thing }, async (tx) => {
          const thing = await repository(tx).create({ ...(body as object), workspaceId } as z.output<C> & { workspaceId: string });
          await tx.feed.put(of.entry(thing));
          return thing;
        });
        return { body: made, version: made.version, location: `/workspaces/${workspaceId}/${resource}/${made.id}` };
      },
    }),
    route({
      method: 'GET', path: onePath, name: `get${operation.one}`, summary: `Read ${words.one}`, tag, access: { resource, action: 'read' },
      params: oneParams, answer: answer(200, 'It'), versioned: true,
      handle: async ({ store, workspace, params }) => {
        const thing = await find(store, params.id, workspace.id);
        return { body: thing, version: thing.version };
      },
    }),
    route({
      method: 'PATCH', path: onePath, name: `update${operation.one}`, summary: `Change ${words.one}`, tag, access: { resource, action: 'update' },
      params: oneParams, body: of.update, answer: answer(200, 'It, changed'), versioned: true,
      handle: async (call) => {
        const { store, workspace, params, ifMatch } = call;
        const body = call.body as z.output<U>;
        of.check?.(body);
        const before = await find(store, params.id, workspace.id);
        const after = await call.change({ action: `${kind}.update`, workspaceId: workspace.id, resource: told, before, after: (thing) => thing }, async (tx) => {
          const thing = await repository(tx).update(params.id, body, ifMatch);
          await tx.feed.put(of.entry(thing));
          return thing;
        });
        return { body: after, version: after.version };
      },
    }),
    route({
      method: 'DELETE', path: onePath, name: `delete${operation.one}`, summary: `Remove ${words.one}`, tag, access: { resource, action: 'delete' },
      params: oneParams, answer: { status: 204, description: 'It is gone' }, versioned: true,
      handle: async (call) => {
        const { store, workspace, params, ifMatch } = call;
        const before = await find(store, params.id, workspace.id);
        await call.change({ action: `${kind}.delete`, workspaceId: workspace.id, resource: told, before }, async (tx) => {
          const thing = await repository(tx).delete(params.id, ifMatch);
          await tx.feed.remove({ type: kind, workspaceId: workspace.id, id: params.id });
          return thing;
        });
        return {};
      },
    }),
  ];
}
