import { crc32 } from 'node:zlib';

import type { ReceivedEvent } from '@carillon/messenger';

/**
 * An event that says who published it, as which of theirs, and what its bytes add up to, so that a receiver can tell a
 * repeat, a step back and a torn frame.
 */
export interface CountedEvent {
  readonly publisher: string;
  readonly counter: number;
}

/** Sizes vary so that frames of all length encodings share batches: 7 bits, and 16 bits. */
const PADDINGS = [0, 40, 300, 1_500];

/** The body of a publisher's event; the room is in it, so that a body under another's tag shows. */
export function countedBody(room: string, { publisher, counter }: CountedEvent): string {
  const padding = 'x'.repeat(PADDINGS[counter % PADDINGS.length] ?? 0);
  const value = JSON.stringify({ publisher, counter, padding });
  return JSON.stringify({ 'affected-room': { roomID: room }, key: 'counted', value, user: '', data: { checksum: crc32(`${room}\n${value}`) } });
}

/** What was published, or undefined for a frame that is not what anybody published. */
export function readCounted(event: ReceivedEvent): CountedEvent | undefined {
  try {
    const { value, data } = event.json() as { value: string; data: { checksum: number } };
    if (crc32(`${event.room}\n${value}`) !== data.checksum) return undefined;
    const { publisher, counter } = JSON.parse(value) as CountedEvent;
    return event.text().trim() === countedBody(event.room, { publisher, counter }) ? { publisher, counter } : undefined;
  } catch {
    return undefined;
  }
}
