import { z } from 'zod';

import { description, stored } from './page.ts';

/** The name of an event: the `key` of a room event, the type of a CloudEvent, an engine's event name. */
export const eventName = z.string().min(1).max(256).regex(/^[^\p{Cc}*;]+$/u, 'must not have control characters, * or ;').meta({ id: 'EventName', examples: ['power', 'order/created'] });

/** JSON Schema 2020-12; what it may not have (remote references, patterns that can run away, size, depth) is RESOURCE_INVALID's to say. */
export const jsonSchema = z.record(z.string().max(256), z.unknown()).meta({ id: 'JsonSchema', description: 'JSON Schema 2020-12 of the event\'s body' });

export const eventDefinition = z
  .object({
    id: z.string(), workspaceId: z.string(), name: eventName, description: z.string(), schema: jsonSchema,
    revision: z.int().min(1).meta({ description: 'Counts up with each change of the schema' }), ...stored,
  })
  .meta({ id: 'EventDefinition' });

export const eventDefinitionCreate = z.strictObject({ name: eventName, description: description.default(''), schema: jsonSchema }).meta({ id: 'EventDefinitionCreate' });
export const eventDefinitionUpdate = z.strictObject({ description, schema: jsonSchema }).partial().meta({ id: 'EventDefinitionUpdate' });

export type EventDefinition = z.output<typeof eventDefinition>;
export type EventDefinitionCreate = z.output<typeof eventDefinitionCreate>;
export type EventDefinitionUpdate = z.output<typeof eventDefinitionUpdate>;
