import { definitionFaults } from '@carillon/access';
import { eventName, type EventDefinition } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';

import { definitionEntry } from '../feed/entries.ts';

import { readPayload, showPayload, PAYLOAD_TYPES, type Payload } from './definition-payload.ts';
import type { EnsyncCall, EnsyncReply, EnsyncRoute } from './ensync-route.ts';
import { isId } from './known-key.ts';
import { cutPage, readAll, readPaging } from './listing.ts';
import { eventCreate, eventUpdate, readBody } from './request-bodies.ts';

/** EnSync's events are our event definitions: those of the key's workspace and, to read and change, of those below. */
export const EVENT_ROUTES: readonly EnsyncRoute[] = [
  { method: 'GET', path: '/event', access: { resource: 'event-definitions', action: 'read' }, handle: listEvents },
  { method: 'POST', path: '/event', access: { resource: 'event-definitions', action: 'create' }, handle: createEvent },
  { method: 'GET', path: '/event/:event', access: { resource: 'event-definitions', action: 'read' }, handle: async (call) => ({ status: 200, body: showEvent(await findEvent(call)) }) },
  { method: 'PUT', path: '/event/:event', access: { resource: 'event-definitions', action: 'update' }, handle: updateEvent },
];

interface EventAnswer {
  readonly id: string;
  readonly name: string;
  readonly payload: Payload;
  readonly createdAt: string;
  readonly updatedAt: string;
}

function showEvent({ id, name, schema, createdAt, updatedAt }: EventDefinition): EventAnswer {
  return { id, name, payload: showPayload(schema), createdAt, updatedAt };
}

async function listEvents({ store, caller, query }: EnsyncCall): Promise<EnsyncReply> {
  const paging = readPaging(query, ['createdAt', 'name']);
  const part = (query['name'] ?? '').toLowerCase();
  const view = await caller.view();
  const found = await readAll(view.map(({ id }) => (page) => store.definitions.list(id, page)), ({ name }) => name.toLowerCase().includes(part));
  const { resultsLength, results } = cutPage(found, paging, (definition, orderBy) => definition[orderBy]);
  return { status: 200, body: { resultsLength, results: results.map(showEvent) } };
}

async function createEvent({ store, caller, body }: EnsyncCall): Promise<EnsyncReply> {
  await caller.require(caller.own.id);
  const { name, payload } = readBody(eventCreate, body);
  const schema = schemaOf(payload);
  const made = await store.change(async (tx) => {
    const after = await tx.definitions.create({ workspaceId: caller.own.id, name, description: '', schema });
    await caller.audit(tx, { action: 'event-definition.create', workspaceId: after.workspaceId, resource: resourceOf(after), before: null, after });
    await tx.feed.put(definitionEntry(after));
    return after;
  });
  return { status: 201, body: showEvent(made) };
}

async function updateEvent(call: EnsyncCall): Promise<EnsyncReply> {
  const { store, caller } = call;
  const before = await findEvent(call);
  const { name, payload } = readBody(eventUpdate, call.body);
  const schema = payload === undefined ? before.schema : schemaOf(payload);
  const made = await store.change(async (tx) => {
    // A definition keeps its name for life: one of another name is another definition, with an id of its own.
    const isRenamed = name !== undefined && name !== before.name;
    if (isRenamed) await tx.definitions.delete(before.id, before.version);
    const after = isRenamed
      ? await tx.definitions.create({ workspaceId: before.workspaceId, name, description: before.description, schema })
      : await tx.definitions.update(before.id, { schema }, before.version);
    await caller.audit(tx, { action: 'event-definition.update', workspaceId: after.workspaceId, resource: resourceOf(after), before, after });
    if (isRenamed) await tx.feed.remove(definitionEntry(before));
    await tx.feed.put(definitionEntry(after));
    return after;
  });
  return { status: 200, body: showEvent(made) };
}

/** By name, in the own workspace first, then by id. */
async function findEvent({ store, caller, params }: EnsyncCall): Promise<EventDefinition> {
  const text = params['event'] ?? '';
  if (eventName.safeParse(text).success) {
    for (const { id } of await caller.view()) {
      const named = await store.definitions.byName(id, text);
      if (named !== undefined) return named;
    }
  }
  const found = isId(text) ? await store.definitions.get(text) : undefined;
  if (found === undefined) throw new CarillonError('RESOURCE_NOT_FOUND');
  await caller.require(found.workspaceId);
  return found;
}

function schemaOf(payload: Readonly<Record<string, unknown>>): EventDefinition['schema'] {
  const read = readPayload(payload);
  if (!read.ok) throw new CarillonError('RESOURCE_INVALID', `/payload/${read.field.slice(0, 64)} must be one of ${PAYLOAD_TYPES.join(', ')}`);
  const [fault] = definitionFaults(read.schema);
  if (fault !== undefined) throw new CarillonError('RESOURCE_INVALID', `the payload makes no definition: ${fault.detail}`);
  return read.schema;
}

function resourceOf({ id, name }: EventDefinition): { readonly kind: string; readonly id: string; readonly name: string } {
  return { kind: 'event-definition', id, name };
}
