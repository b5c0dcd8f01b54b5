import { patternFault } from '@carillon/wire';
import { z } from 'zod';

/** What a key may do on the data plane: lists of rules, where a denial wins over every allowance. */

/**
 * A list is looked at for every room that is new to a key. What a rule costs at the worst grows with its length and the
 * room's: with these bounds a room takes a few tens of milliseconds of the most hostile key, and microseconds of others.
 */
const RULES_MAX = 500;
const RULES_MAX_CHARACTERS = 8_192;
const EVENT_NAME_MAX_CHARACTERS = 256;

const pattern = z.string().max(256).superRefine((text, context) => {
  const fault = patternFault(text);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: `is no pattern: ${fault}` });
});

/** `*` within a segment, a final `**` for the rest, a lone `*` for all; segments end at `-` and `/`. */
export const roomPattern = pattern.meta({ id: 'RoomPattern', description: 'Selects rooms: `*` within one segment of a name, a final `**` for the rest, a lone `*` for all', examples: ['ITB-1101', 'ITB-*', 'ITB-**', '*'] });

/** The same language over event names. */
export const eventNamePattern = pattern.max(EVENT_NAME_MAX_CHARACTERS).meta({ id: 'EventNamePattern', description: 'Selects event names, in the language of room patterns', examples: ['power', 'order/**'] });

export const permissionRule = z
  .union([roomPattern.transform((room) => ({ room })), z.strictObject({ room: roomPattern, event: eventNamePattern.optional() })])
  .meta({ id: 'PermissionRule', description: 'Rooms by pattern, all their events; or, as an object, only events whose name the second pattern selects' });

const rules = z.array(permissionRule).max(RULES_MAX);

export const permissions = z
  .strictObject({
    send: rules.default([]),
    receive: rules.default([]),
    deny: z.strictObject({ send: rules.default([]), receive: rules.default([]) }).default({ send: [], receive: [] }),
  })
  .refine(({ send, receive, deny }) => [[...send, ...deny.send], [...receive, ...deny.receive]].every((list) => charactersOf(list) <= RULES_MAX_CHARACTERS), `has more than ${RULES_MAX_CHARACTERS} characters of patterns in one direction`)
  .meta({ id: 'Permissions', description: 'What a key may send and receive. What no rule allows is refused; what a rule under deny selects is refused whatever else allows it' });

export type PermissionRule = z.output<typeof permissionRule>;
export type Permissions = z.output<typeof permissions>;

/** Everything, and nothing. */
export const ALL_PERMISSIONS: Permissions = { send: [{ room: '*' }], receive: [{ room: '*' }], deny: { send: [], receive: [] } };
export const NO_PERMISSIONS: Permissions = { send: [], receive: [], deny: { send: [], receive: [] } };

function charactersOf(list: readonly PermissionRule[]): number {
  return list.reduce((sum, rule) => sum + rule.room.length + ('event' in rule ? (rule.event?.length ?? 0) : 0), 0);
}
