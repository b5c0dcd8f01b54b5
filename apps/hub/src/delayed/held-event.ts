import type { LogEvent } from '@carillon/log';

/** An event that is kept aside: given up, due later, or on its way to one consumer again. */
export interface HeldEvent {
  readonly workspaceId: string;
  readonly room: string;
  readonly id: string;
  /** When it took place, ms since 1970. */
  readonly atMs: number;
  /** Fields of its tag line beyond id, seq and at, as `LogEvent` has them. */
  readonly fields: string;
  readonly body: Uint8Array;
  readonly expiresAtMs?: number | undefined;
  /** Its place in its room, of one that had one. */
  readonly seq?: number | undefined;
  /** The consumer that it is for alone. */
  readonly consumer?: string | undefined;
  /** Attempts at delivering it that count against it. */
  readonly attempts?: number | undefined;
  /** Why it is kept aside. */
  readonly reason?: string | undefined;
  /** When it is due, ms since 1970. */
  readonly dueMs?: number | undefined;
}

const LINE_FEED = Buffer.from('\n');

/** One line of JSON with everything but the body, then the body as it is. */
export function encodeHeld({ body, ...head }: HeldEvent): Buffer {
  return Buffer.concat([Buffer.from(JSON.stringify(head)), LINE_FEED, body]);
}

/** Undefined for what this version did not write. */
export function decodeHeld(bytes: Uint8Array): HeldEvent | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = buffer.indexOf(LINE_FEED);
  if (end === -1) return undefined;
  try {
    const head = JSON.parse(buffer.toString('utf8', 0, end)) as Partial<HeldEvent>;
    const { workspaceId, room, id, atMs, fields } = head;
    if (typeof workspaceId !== 'string' || typeof room !== 'string' || typeof id !== 'string' || typeof atMs !== 'number' || typeof fields !== 'string') return undefined;
    return { ...head, workspaceId, room, id, atMs, fields, body: buffer.subarray(end + 1) };
  } catch {
    return undefined;
  }
}

/** The event as it goes into the log of its workspace. */
export function logEventOf({ workspaceId, room, id, atMs, fields, body, expiresAtMs }: HeldEvent): LogEvent {
  return { workspaceId, room, id, atMs, fields, body, expiresAtMs };
}
