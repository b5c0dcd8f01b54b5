import { createInbox, type Msg } from '@nats-io/transport-node';

import type { StoredEvent } from './event-log.ts';
import { ApiFault } from './jetstream-link.ts';
import { decodeRecord } from './jetstream-record.ts';
import type { OpenStream } from './jetstream-stream.ts';

/*
 * Single messages, asked of the stream's leader: only it has everything that was acked. A replica that answers a direct get may
 * be behind.
 */
const MESSAGE_UNKNOWN = 10_037;
const NOT_FOUND = 404;
// What the server takes in one request for the last messages of subjects.
const SUBJECTS_MAX = 1_000;
const END_OF_BATCH = 204;
const HINT_TIMEOUT_MS = 2_000;
const encoder = new TextEncoder();

export interface StoredMessage {
  readonly subject: string;
  readonly seq: number;
  readonly storedAtMs: number;
  readonly data: Uint8Array;
}

interface MessageAnswer {
  readonly message: { readonly subject: string; readonly seq: number; readonly time: string; readonly data?: string };
}

interface StateAnswer {
  readonly state: { readonly first_seq: number; readonly deleted?: readonly number[] | null };
}

/** A message by its sequence, the next of a filter at or after one, or the last of a filter; undefined: there is none. */
export async function messageOf(stream: OpenStream, which: { readonly seq: number } | { readonly seq: number; readonly next_by_subj: string } | { readonly last_by_subj: string }, name = stream.name): Promise<StoredMessage | undefined> {
  try {
    const { message } = await stream.link.ask<MessageAnswer>(`STREAM.MSG.GET.${name}`, which);
    return { subject: message.subject, seq: message.seq, storedAtMs: Date.parse(message.time), data: Buffer.from(message.data ?? '', 'base64') };
  } catch (error) {
    if (error instanceof ApiFault && (error.code === MESSAGE_UNKNOWN || error.code === NOT_FOUND)) return undefined;
    throw error;
  }
}

/** The event at a sequence; its prevSeq is not known here. */
export async function storedAt(stream: OpenStream, seq: number): Promise<StoredEvent | undefined> {
  const message = await messageOf(stream, { seq });
  return message === undefined ? undefined : decodeRecord(message.subject, message.data, { seq, prevSeq: 0, storedAtMs: message.storedAtMs });
}

/**
 * Whether there was a message at a sequence that is not there now; false: there may be one that the server does not know of yet. A leader
 * that was parted from the others goes on answering for some time.
 */
export async function isDeleted(stream: OpenStream, seq: number): Promise<boolean> {
  const next = await messageOf(stream, { seq, next_by_subj: '>' });
  if (next !== undefined) return next.seq > seq;
  // Nothing from there on: what is deleted at the end of a stream is told by its details alone.
  const { state } = await stream.link.ask<StateAnswer>(`STREAM.INFO.${stream.name}`, { deleted_details: true });
  return seq < state.first_seq || state.deleted?.includes(seq) === true;
}

/** The last sequence of each subject at or before `upTo`; empty on servers that cannot tell (before 2.11). */
export async function lastSeqs(stream: OpenStream, subjects: readonly string[], upTo: number): Promise<ReadonlyMap<string, number>> {
  const last = new Map<string, number>();
  if (!stream.hasMultiLast || upTo <= 0) return last;
  for (let at = 0; at < subjects.length; at += SUBJECTS_MAX) await lastOfSome(stream, { subjects: subjects.slice(at, at + SUBJECTS_MAX), upTo, last });
  return last;
}

function lastOfSome({ link, name }: OpenStream, { subjects, upTo, last }: { readonly subjects: readonly string[]; readonly upTo: number; readonly last: Map<string, number> }): Promise<void> {
  return new Promise((resolve) => {
    const inbox = link.subscribe(createInbox(), (message) => each(message));
    // A hint, not worth failing for: without an answer the sequences stay unknown.
    const timer = setTimeout(() => end(), HINT_TIMEOUT_MS);
    const each = (message: Msg) => {
      const given = message.headers;
      if (message.data.length === 0 && given !== undefined && given.code >= END_OF_BATCH) return end();
      last.set(given?.get('Nats-Subject') ?? '', Number(given?.get('Nats-Sequence') ?? 0));
    };
    const lost = link.whenLost(() => end());
    const end = () => {
      clearTimeout(timer);
      lost.release();
      if (!inbox.isClosed()) inbox.unsubscribe();
      resolve();
    };
    link.publish(`$JS.API.DIRECT.GET.${name}`, encoder.encode(JSON.stringify({ multi_last: subjects, up_to_seq: upTo, batch: subjects.length })), inbox.getSubject());
  });
}
