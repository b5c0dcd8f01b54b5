import type { OutboxEvent } from './outbox.ts';

const ROOMS = 10;

/** The event that has this id, wherever it is made: `<name>-<number>`; one in ten is larger than a page. */
export function eventOfId(id: string): OutboxEvent {
  const number = Number(id.split('-')[1]);
  const room = `R${number % ROOMS}`;
  return { id, frame: Buffer.from(`${room}\n${id.repeat(number % ROOMS === 7 ? 600 : 30)}`), tagEnd: room.length, recordedAtMs: 1 };
}

export interface OutboxOutcome {
  readonly dir: string;
  readonly ids?: readonly string[];
  readonly strange?: number;
  readonly warned?: readonly string[];
  /** After it has been written to, and opened again. */
  readonly idsThen?: readonly string[];
  readonly code?: string;
  readonly text?: string;
}
