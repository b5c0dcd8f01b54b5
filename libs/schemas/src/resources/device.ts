import { roomFault } from '@carillon/wire';
import { z } from 'zod';

import { stored } from './page.ts';

/** A target in the send list of repeaters: events of its room go to its address. */
const plain = z.string().min(1).max(256).regex(/^[^\p{Cc}*]+$/u, 'must not have control characters or *');
const room = z.string().max(256).refine((text) => roomFault(text) === undefined, 'is no room name');
const address = z
  .string()
  .min(1)
  .max(512)
  .refine((text) => URL.canParse(text) && ['ws:', 'wss:', 'http:', 'https:'].includes(new URL(text).protocol), 'must be a ws, wss, http or https URL')
  .refine((text) => !URL.canParse(text) || (new URL(text).username === '' && new URL(text).password === ''), 'must not hold credentials')
  .meta({ examples: ['ws://10.0.0.17:7101/connect/ITB-1101/CP1', 'http://10.0.0.18/events'] });

const fields = {
  room: room.meta({ description: 'Whose events it gets' }),
  name: plain.meta({ description: 'One of its kind in its room' }),
  repeater: plain.meta({ description: 'The id of the repeater that sends to it' }),
  address: address.meta({ description: 'Where it listens' }),
};

export const device = z
  .object({ id: z.string(), workspaceId: z.string(), room: z.string(), name: z.string(), repeater: z.string(), address: z.string(), enabled: z.boolean(), ...stored })
  .meta({ id: 'Device' });
export const deviceCreate = z.strictObject({ ...fields, enabled: z.boolean().default(true) }).meta({ id: 'DeviceCreate' });
export const deviceUpdate = z.strictObject({ repeater: fields.repeater, address: fields.address, enabled: z.boolean() }).partial().meta({ id: 'DeviceUpdate' });

export type Device = z.output<typeof device>;
export type DeviceCreate = z.output<typeof deviceCreate>;
export type DeviceUpdate = z.output<typeof deviceUpdate>;
