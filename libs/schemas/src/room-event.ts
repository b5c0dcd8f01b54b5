import { z } from 'zod';

/**
 * The v2 room event, as devices and rooms send it. Field names are the original's; unknown fields are kept by whoever
 * forwards the bytes and ignored here. A missing text field reads as empty, as the original's decoder has it.
 */

/** Tags with a meaning of their own in the original; any other text is allowed. */
export const EVENT_TAGS = [
  'heartbeat', 'core-state', 'detail-state', 'error', 'user-generated', 'auto-generated', 'startup', 'roomdivide', 'metrics', 'internal',
  'room-system', 'alert', 'computer', 'mstatus', 'via', 'hardware-info', 'active-signal', 'support', 'ui-communication', 'ui-event', 'cherry-ui',
  'blueberry-ui',
] as const;

const text = z.string().max(65_536);
const name = z.string().max(256);

export const basicRoom = z.object({ buildingID: name.optional(), roomID: name.optional() }).meta({ id: 'BasicRoom', description: 'A room and its building' });

export const basicDevice = z
  .object({ buildingID: name.optional(), roomID: name.optional(), deviceID: name.optional() })
  .meta({ id: 'BasicDevice', description: 'A device, its room and its building' });

export const roomEvent = z
  .object({
    'generating-system': text.default('').meta({ description: 'Host that made the event' }),
    timestamp: z.iso.datetime({ offset: true, local: false }).optional().meta({ description: 'When it took place: RFC 3339, up to nanoseconds, any offset' }),
    'event-tags': z.array(name).max(64).nullable().default(null).meta({ description: 'Routing hints' }),
    'target-device': basicDevice.default({}),
    'affected-room': basicRoom.default({}),
    key: text.default('').meta({ description: 'What changed' }),
    value: text.default('').meta({ description: 'To what' }),
    user: text.default('').meta({ description: 'By whom' }),
    data: z.unknown().optional().meta({ description: 'Anything; not aggregated on' }),
  })
  .meta({ id: 'RoomEvent', description: 'A v2 event' });

export type RoomEvent = z.output<typeof roomEvent>;
export type BasicRoom = z.output<typeof basicRoom>;
export type BasicDevice = z.output<typeof basicDevice>;

/** `BLDG-ROOM-DEVICE`, upper-cased; with other than three parts only `deviceID` is set. */
export function deviceFromId(deviceId: string): BasicDevice {
  const id = deviceId.toUpperCase();
  const [building, room, device, ...more] = id.split('-');
  if (building === undefined || room === undefined || device === undefined || more.length > 0) return { deviceID: id };
  return { buildingID: building, roomID: `${building}-${room}`, deviceID: id };
}

/** `BLDG-ROOM`, upper-cased; with other than two parts the room is the first part. */
export function roomFromId(roomId: string): BasicRoom {
  const id = roomId.toUpperCase();
  const [building, room, ...more] = id.split('-');
  if (building === undefined || room === undefined || more.length > 0) return building === undefined ? {} : { roomID: building };
  return { buildingID: building, roomID: id };
}
