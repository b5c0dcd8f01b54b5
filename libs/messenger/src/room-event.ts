import { systemName } from './platform.ts';

/** One v2 event, as hubs and messengers of all generations know it. */
export interface RoomEvent {
  /** The host that made the event. */
  'generating-system': string;
  /** RFC 3339. */
  timestamp: string;
  'event-tags': string[] | null;
  'target-device'?: { buildingID?: string; roomID?: string; deviceID?: string };
  /** Its `roomID` is the room that the event is routed by. */
  'affected-room': { buildingID?: string; roomID?: string };
  key: string;
  value: string;
  user: string;
  /** Anything that JSON can say. */
  data?: unknown;
}

/** What `roomEvent` needs to know. */
export interface RoomEventFields {
  /** `BLDG-ROOM`; it is upper-cased, as all v2 identifiers are. */
  readonly room: string;
  readonly key: string;
  readonly value: string;
  /** Default: empty. */
  readonly user?: string;
  /** Default: none. */
  readonly tags?: readonly string[];
  /** `BLDG-ROOM-DEVICE`; upper-cased. Default: no device. */
  readonly device?: string;
  readonly data?: unknown;
  /** The host that makes the event. Default: this host's name, in browsers the page's. */
  readonly system?: string;
}

/**
 * Fills in the shape of a v2 event. `ITB-1101` gives building `ITB` and room `ITB-1101`; a name with other than two
 * parts is the room whole, without a building. A device id is split only when it has three parts.
 */
export function roomEvent(fields: RoomEventFields, now: Date = new Date()): RoomEvent {
  return {
    'generating-system': fields.system ?? systemName(),
    timestamp: now.toISOString(),
    'event-tags': [...(fields.tags ?? [])],
    ...(fields.device === undefined ? {} : { 'target-device': splitDevice(fields.device) }),
    'affected-room': splitRoom(fields.room),
    key: fields.key,
    value: fields.value,
    user: fields.user ?? '',
    ...(fields.data === undefined ? {} : { data: fields.data }),
  };
}

function splitRoom(room: string): RoomEvent['affected-room'] {
  const roomID = room.toUpperCase();
  const parts = roomID.split('-');
  return parts.length === 2 ? { buildingID: parts[0] ?? '', roomID } : { roomID };
}

function splitDevice(device: string): NonNullable<RoomEvent['target-device']> {
  const deviceID = device.toUpperCase();
  const [building, room, ...rest] = deviceID.split('-');
  if (building === undefined || room === undefined || rest.length !== 1) return { deviceID };
  return { buildingID: building, roomID: `${building}-${room}`, deviceID };
}
