import { parseJsonBody } from '@carillon/schemas';

import type { ListedLetter } from './dead-letters.ts';
import { eventAtOf, fromOf } from '../durable/durable-lane.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A dead letter as HTTP shows it. Written by hand around the body: parsed and written anew it would not be what was sent. */
export function letterJson({ letter: { id, diedAtMs, held, isCut }, state }: ListedLetter): string {
  const { consumer, room, attempts, reason, seq, atMs, fields, body } = held;
  const head = JSON.stringify({ id, consumer, room, state, reason, attempts, diedAt: diedAtMs });
  const event = JSON.stringify({ id: held.id, seq, at: atMs, et: eventAtOf(fields), from: fromOf(fields) });
  return `${head.slice(0, -1)},"event":${event.slice(0, -1)}${isCut ? '' : `,${contentJson(body)}`}}}`;
}

function contentJson(body: Uint8Array): string {
  if (parseJsonBody(body).ok) return `"body":${utf8.decode(body)}`;
  try {
    return `"text":${JSON.stringify(utf8.decode(body))}`;
  } catch {
    return `"base64":"${Buffer.from(body).toString('base64')}"`;
  }
}
