import { definitionFaults } from '@carillon/access';
import { eventDefinition, eventDefinitionCreate, eventDefinitionUpdate, pageQuery } from '@carillon/schemas';
import { z } from 'zod';

import { definitionEntry } from '../feed/entries.ts';
import { refuseFields } from './invalid.ts';
import { thingRoutes } from './workspace-things.ts';

/** What events of a name look like. A schema that could not be checked with, or that could be made to run for ever, is refused with a pointer to each fault. */
export const eventDefinitionRoutes = thingRoutes({
  resource: 'event-definitions', kind: 'event-definition', tag: 'Event definitions',
  operation: { one: 'EventDefinition', many: 'EventDefinitions' }, words: { one: 'an event definition', many: 'event definitions' },
  schema: eventDefinition, create: eventDefinitionCreate, update: eventDefinitionUpdate,
  query: pageQuery.extend({ name: z.string().max(256).optional().meta({ description: 'Only the one of this name' }) }),
  repository: ({ definitions }) => definitions,
  entry: definitionEntry,
  label: ({ name }) => name,
  check: ({ schema }) => {
    const faults = schema === undefined ? [] : definitionFaults(schema);
    if (faults.length > 0) refuseFields(faults.map(({ pointer, detail }) => ({ pointer: `/schema${pointer}`, detail })));
  },
});
