import { createHash } from 'node:crypto';

import { LogError, type EventLog, type StoredEvent } from '@carillon/log';

import { decodeHeld, encodeHeld, type HeldEvent } from '../delayed/held-event.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';

/**
 * An event that a consumer gave up, as it is kept in the log of the dead: its room there is `<workspace>/<consumer>`. What
 * became of it later stands beside it (dead-letter-marks.ts); nothing is changed and nothing deleted before its time.
 */
export interface DeadLetter {
  readonly id: string;
  /** Its place in the log of the dead. */
  readonly place: number;
  readonly diedAtMs: number;
  readonly held: HeldEvent & { readonly consumer: string };
  /** Its body is not here: with all that is kept beside it it was larger than the log takes. */
  readonly isCut: boolean;
}

/** Which delivery it was: the same one twice is one letter. */
export interface Death {
  readonly workspaceId: string;
  readonly consumer: string;
  /** Tells consumers apart that had the name one after the other. */
  readonly generation: number;
  /** Of what was delivered; a copy that came back has a place of its own. */
  readonly seq: number;
  readonly storedAtMs: number;
}

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const TIME_DIGITS = 10;
const HASH_DIGITS = 16;
const NO_BODY = new Uint8Array(0);

export const deadRoom = (workspaceId: string, consumer: string): string => `${workspaceId}/${consumer}`;

/** Where all consumers of a workspace have their letters. */
export const deadRooms = (workspaceId: string): string => `${workspaceId}/**`;

/** A ULID of the time at which the event was stored, so that a log that looks for it knows where to begin. */
export function letterId({ workspaceId, consumer, generation, seq, storedAtMs }: Death): string {
  const hash = createHash('sha256').update(`${workspaceId}/${consumer}/${generation}/${seq}`).digest();
  let time = '';
  for (let rest = Math.floor(storedAtMs); time.length < TIME_DIGITS; rest = Math.floor(rest / ALPHABET.length)) time = ALPHABET.charAt(rest % ALPHABET.length) + time;
  return time + [...hash.subarray(0, HASH_DIGITS)].map((byte) => ALPHABET.charAt(byte % ALPHABET.length)).join('');
}

/** Keeps an event that was given up; false: it was there already. Rejects with the log's error. */
export async function bury(log: EventLog, id: string, held: DeadLetter['held']): Promise<boolean> {
  const append = async (body: Buffer): Promise<boolean> => {
    const { duplicate } = await log.append({ workspaceId: SYSTEM_WORKSPACES.dead, room: deadRoom(held.workspaceId, held.consumer), id, atMs: Date.now(), fields: '', body });
    return !duplicate;
  };
  try {
    return await append(encodeHeld(held));
  } catch (error) {
    if (!(error instanceof LogError)) throw error;
    // The letter that is there says the same with other words: a reason is not kept over a restart.
    if (error.code === 'EVENT_ID_REUSED') return false;
    if (error.code !== 'EVENT_TOO_LARGE') throw error;
    return append(encodeHeld({ ...held, body: NO_BODY, isCut: true } as HeldEvent));
  }
}

/** Undefined for what this version did not write. */
export function readLetter({ id, seq, storedAtMs, room, body }: StoredEvent): DeadLetter | undefined {
  const held = decodeHeld(body);
  if (held?.consumer === undefined || room !== deadRoom(held.workspaceId, held.consumer)) return undefined;
  return { id, place: seq, diedAtMs: storedAtMs, held: { ...held, consumer: held.consumer }, isCut: 'isCut' in held && held.isCut === true };
}
