import { roomFault } from '@carillon/wire';
import { z } from 'zod';

import { readSocketAddress, REPEATER_PORT } from './addresses.ts';
import { deviceIdFault } from './device-id.ts';

/**
 * The send list: which targets get the frames that come from the hub, by room. `*` stands for every room, in addition
 * to the room's own. In JSON:
 *
 *   { "rooms":     { "ITB-1101": ["ITB-1101-CP2", "http://10.0.0.9/events"], "*": ["ws://central:7101"] },
 *     "addresses": { "ITB-1101-CP2": "10.0.0.5:7101" } }
 */
export type Target =
  | { readonly kind: 'device'; readonly id: string }
  /** Another repeater; `url` may lack a path. */
  | { readonly kind: 'socket'; readonly url: string }
  | { readonly kind: 'http'; readonly url: string };

export interface SendList {
  /** Targets of a room, each once; those of `*` last. */
  targetsOf(room: string): readonly Target[];
  /** Where a device that has not joined is dialled, if its id or the list says so. */
  addressOf(deviceId: string): string | undefined;
  /** Every target. */
  readonly targets: readonly Target[];
  /** This list with further targets, by room; one that is there already stays once. */
  with(more: ReadonlyMap<string, readonly Target[]>): SendList;
}

export interface SendListOptions {
  /** This repeater is no target of its own. */
  readonly ownId: string;
  /** URLs of repeaters that get every room. */
  readonly centralAddresses: readonly string[];
}

export type ReadSendList = { readonly ok: true; readonly list: SendList } | { readonly ok: false; readonly problems: readonly string[] };

const EVERY_ROOM = '*';
const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;

const roomKey = z.string().superRefine((room, context) => {
  const fault = room === EVERY_ROOM ? undefined : roomFault(room);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: `is no room name (${fault})` });
});

const target = z.string().transform((given, context): Target => {
  const read = readTarget(given);
  if (typeof read !== 'string') return read;
  context.issues.push({ code: 'custom', message: read, input: given });
  return z.NEVER;
});

const address = z.string().transform((given, context): string => {
  const read = readSocketAddress(given, REPEATER_PORT);
  if (read.ok) return read.url;
  context.issues.push({ code: 'custom', message: read.reason, input: given });
  return z.NEVER;
});

const sendListFile = z.strictObject({
  rooms: z.record(roomKey, z.array(target)).default({}),
  addresses: z.record(z.string().min(1), address).default({}),
});

/** Reads a send list file; a list that is wrong anywhere is refused as a whole, with every problem told. */
export function readSendList(json: string, options: SendListOptions): ReadSendList {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    // The rest of the engine's message quotes the text, and addresses may carry keys.
    const [position] = /position \d+/.exec(error instanceof Error ? error.message : '') ?? [];
    return { ok: false, problems: [`is not JSON${position === undefined ? '' : ` (${position})`}`] };
  }
  const parsed = sendListFile.safeParse(value);
  if (!parsed.success) return { ok: false, problems: parsed.error.issues.map(({ path, message }) => `${path.map(String).join('.') || 'the list'}: ${message}`) };
  const rooms = new Map(Object.entries(parsed.data.rooms));
  return { ok: true, list: createSendList(rooms, new Map(Object.entries(parsed.data.addresses)), options) };
}

/** The list of a repeater without a file. */
export function emptySendList(options: SendListOptions): SendList {
  return createSendList(new Map(), new Map(), options);
}

function createSendList(rooms: ReadonlyMap<string, readonly Target[]>, addresses: ReadonlyMap<string, string>, { ownId, centralAddresses }: SendListOptions): SendList {
  const central = centralAddresses.map((url): Target => ({ kind: 'socket', url }));
  const everyRoom = [...(rooms.get(EVERY_ROOM) ?? []), ...central];
  const others = (targets: readonly Target[]): readonly Target[] => unique(targets).filter((one) => one.kind !== 'device' || one.id !== ownId);
  const byRoom = new Map([...rooms].map(([room, own]) => [room, others([...own, ...everyRoom])] as const));
  const ofEveryRoom = others(everyRoom);
  return {
    targetsOf: (room) => byRoom.get(room) ?? ofEveryRoom,
    addressOf: (deviceId) => addresses.get(deviceId) ?? hostAddress(deviceId),
    targets: unique([...[...byRoom.values()].flat(), ...ofEveryRoom]),
    with: (more) => {
      const merged = new Map([...rooms, ...[...more].map(([room, targets]) => [room, [...(rooms.get(room) ?? []), ...targets]] as const)]);
      return createSendList(merged, addresses, { ownId, centralAddresses });
    },
  };
}

/** An id that is no host name can only be reached by joining. */
function hostAddress(deviceId: string): string | undefined {
  const read = readSocketAddress(deviceId, REPEATER_PORT);
  return read.ok ? read.url : undefined;
}

function unique(targets: readonly Target[]): Target[] {
  return [...new Map(targets.map((one) => [one.kind === 'device' ? `device ${one.id}` : `${one.kind} ${one.url}`, one])).values()];
}

/** Reads a device id, a ws or wss address, or an http or https URL; a text says what is wrong, and quotes nothing. */
export function readTarget(given: string): Target | string {
  const scheme = SCHEME.exec(given)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    const fault = deviceIdFault(given);
    return fault === undefined ? { kind: 'device', id: given } : `is no device id (${fault})`;
  }
  if (scheme === 'http' || scheme === 'https') return URL.canParse(given) ? { kind: 'http', url: new URL(given).href } : 'is no URL';
  const read = readSocketAddress(given, REPEATER_PORT);
  return read.ok ? { kind: 'socket', url: read.url } : `${read.reason}; http:// and https:// are targets too`;
}
