import type { Msg } from '@nats-io/transport-node';

import { LogError, type StoredClass } from './event-log.ts';
import { idHeader } from './jetstream-header.ts';
import { isNobody } from './jetstream-link.ts';
import type { OpenStream } from './jetstream-stream.ts';

/*
 * What a stream answers to a publish. Codes are JetStream's (errors.json of nats-server): the stream or the account is full; the message
 * is larger than the stream takes; the same id is just being stored.
 */
const FULL_CODES: ReadonlySet<number> = new Set([10_023, 10_047, 10_077]);
const FULL_TEXT = /maximum|insufficient|no space|exceeded/i;
const TOO_LARGE_CODE = 10_054;
const IN_PROCESS_CODES: ReadonlySet<number> = new Set([10_158, 10_201]);
// The kinds of JetStream's errors that say nothing of this one event: too many at once, not available.
const FOR_NOW_KINDS: ReadonlySet<number> = new Set([429, 503]);
// An ack that says nothing but where: parsed as JSON it costs three times as much.
const PLAIN_ACK = /^\{"stream":"[^"\\]*", ?"seq":(\d+)\}$/;
const encoder = new TextEncoder();

interface AckFault {
  readonly code?: number;
  readonly err_code?: number;
  readonly description: string;
}

/** What became of a publish. */
export type PublishOutcome =
  | { readonly kind: 'stored'; readonly seq: number }
  /** The id was there already. */
  | { readonly kind: 'known'; readonly seq: number }
  /** Of this event alone. */
  | { readonly kind: 'refused'; readonly error: LogError }
  /** Another try may store it: `isBusy` when the same id is just being stored, `isNobody` when there is no stream or it has no leader. */
  | { readonly kind: 'failed'; readonly reason: string; readonly isBusy?: boolean; readonly isNobody?: boolean };

/** Reads the answer to a publish, or why there is none. */
export function outcomeOf(message: Msg | undefined, failure?: string): PublishOutcome {
  if (message === undefined) return { kind: 'failed', reason: failure ?? 'no answer came' };
  if (isNobody(message)) return { kind: 'failed', reason: 'nobody answers for the stream of the event log: it is gone, has no leader, or the server has no JetStream', isNobody: true };
  const text = message.string();
  const plain = PLAIN_ACK.exec(text);
  if (plain !== null) return { kind: 'stored', seq: Number(plain[1]) };
  const ack = parsed(text);
  if (ack?.error !== undefined) return faultOutcome(ack.error);
  if (typeof ack?.seq !== 'number') return { kind: 'failed', reason: 'the answer cannot be read' };
  if (ack.duplicate !== true) return { kind: 'stored', seq: ack.seq };
  // Servers before 2.11 say so of an id that is just being stored.
  if (ack.seq === 0) return { kind: 'failed', reason: 'the stream is just storing an event of the same id', isBusy: true };
  return { kind: 'known', seq: ack.seq };
}

/** The sequence of the first event with this id that the server remembers; nothing is stored by asking. */
export async function rememberedSeq(stream: OpenStream, messageId: string, subject: string): Promise<number | undefined> {
  // A last sequence that no stream has: if the id does not make it a duplicate, this makes it a refusal.
  const outcome = outcomeOf(await stream.link.request(subject, encoder.encode('?'), { headers: idHeader(messageId, `Nats-Expected-Last-Sequence: ${Number.MAX_SAFE_INTEGER}\r\n`) }));
  return outcome.kind === 'known' ? outcome.seq : undefined;
}

/** How safe an event of this stream is once it is acked. JetStream writes at once and fsyncs by its `sync_interval` (2 min by default). */
export const classOf = ({ replicas }: Pick<OpenStream, 'replicas'>): StoredClass => (replicas >= 3 ? 'replicated' : 'stored');

function parsed(text: string): { readonly seq?: unknown; readonly duplicate?: unknown; readonly error?: AckFault } | undefined {
  try {
    return JSON.parse(text) as { readonly seq?: unknown; readonly duplicate?: unknown; readonly error?: AckFault };
  } catch {
    return undefined;
  }
}

function faultOutcome({ code: kind = 0, err_code: code = 0, description }: AckFault): PublishOutcome {
  if (code === TOO_LARGE_CODE) return { kind: 'refused', error: new LogError('EVENT_TOO_LARGE', `The stream does not take it: ${description}.`) };
  if (FULL_CODES.has(code) && FULL_TEXT.test(description)) return { kind: 'refused', error: new LogError('LOG_FULL', `The stream is full: ${description}.`) };
  const reason = `the stream did not store it: ${description} (${code})`;
  if (IN_PROCESS_CODES.has(code)) return { kind: 'failed', reason, isBusy: true };
  if (FOR_NOW_KINDS.has(kind)) return { kind: 'failed', reason };
  return { kind: 'refused', error: new LogError('LOG_UNAVAILABLE', `The event log refused the event: ${reason}.`) };
}
