import { randomBytes } from 'node:crypto';

import { createInbox, type Msg } from '@nats-io/transport-node';

import { LogError } from './event-log.ts';
import { isNobody } from './jetstream-link.ts';
import type { OpenStream } from './jetstream-stream.ts';

/*
 * A reading position on the server: a pull consumer of its own without acks, in memory, that the server forgets when nobody has
 * asked it for a while. Asked for a batch it sends what there is and says that this was all. What it sends may be lost on the way, where
 * servers lose each other: each message says which one it is, and how many are behind it, and by that it shows.
 */
const NANOS_PER_MS = 1_000_000;
const FORGOTTEN_AFTER_MS = 60_000;
const SILENT_AFTER_MS = 5_000;
// The server that has a cursor that was just made tells the others that it listens; a request that is faster meets nobody.
const NOBODY_PAUSE_MS = 100;
const NOBODY_TRIES = 20;
const encoder = new TextEncoder();

/** Some of what a cursor has sent did not come, and will not: another one has to read on from what came before. */
export class CursorLost extends LogError {
  constructor() {
    super('LOG_UNAVAILABLE', 'Messages of the stream were lost on their way here.');
  }
}

export interface CursorMessage {
  readonly subject: string;
  readonly seq: number;
  readonly storedAtMs: number;
  readonly data: Uint8Array;
  readonly message: Msg;
}

export interface Batch {
  readonly messages: readonly CursorMessage[];
  /** `all`: nothing is left now; `more`: as many as asked for; `bytes`: the next one would be too many bytes. */
  readonly end: 'all' | 'more' | 'bytes';
}

export interface CursorSpec {
  /** The log's stream by default. */
  readonly streamName?: string;
  readonly filters: readonly string[];
  readonly from: { readonly after: number } | { readonly atMs: number };
  readonly headersOnly?: boolean;
}

interface ConsumerMade {
  readonly num_pending: number;
  readonly cluster?: { readonly leader?: string };
}

export class JetStreamCursor {
  readonly stream: OpenStream;
  /** Messages of the filters that were there when it was made. */
  readonly pendingAtStart: number;
  /** The name of the server on which it stands; undefined: there is one only. */
  readonly server: string | undefined;
  readonly #streamName: string;
  readonly #name: string;
  /** Messages that came, and those that there are at least. */
  #came = 0;
  #least: number;

  private constructor(stream: OpenStream, made: { readonly streamName: string; readonly name: string; readonly pending: number; readonly server: string | undefined }) {
    this.stream = stream;
    this.#streamName = made.streamName;
    this.#name = made.name;
    this.pendingAtStart = made.pending;
    this.#least = made.pending;
    this.server = made.server;
  }

  static async open(stream: OpenStream, { streamName = stream.name, filters, from, headersOnly = false }: CursorSpec): Promise<JetStreamCursor> {
    const name = `read_${randomBytes(9).toString('hex')}`;
    const config = {
      name,
      ...('after' in from ? { deliver_policy: 'by_start_sequence', opt_start_seq: from.after + 1 } : { deliver_policy: 'by_start_time', opt_start_time: new Date(from.atMs).toISOString() }),
      filter_subjects: filters,
      ack_policy: 'none',
      mem_storage: true,
      num_replicas: 1,
      inactive_threshold: FORGOTTEN_AFTER_MS * NANOS_PER_MS,
      ...(headersOnly ? { headers_only: true } : {}),
    };
    const made = await stream.link.ask<ConsumerMade>(`CONSUMER.CREATE.${streamName}.${name}`, { stream_name: streamName, config });
    return new JetStreamCursor(stream, { streamName, name, pending: made.num_pending, server: made.cluster?.leader });
  }

  /** What there is, up to so many messages and bytes; waits up to `waitMs` for a first one. `isStrict`: what the server has counted must have come. Rejects with LOG_UNAVAILABLE; CursorLost: it is of no more use. */
  fetch({ maxEvents, maxBytes, waitMs, isStrict = false }: { readonly maxEvents: number; readonly maxBytes?: number; readonly waitMs?: number; readonly isStrict?: boolean }): Promise<Batch> {
    const { link } = this.stream;
    return new Promise((resolve, reject) => {
      const messages: CursorMessage[] = [];
      let heard = true;
      let triesLeft = NOBODY_TRIES;
      let again: NodeJS.Timeout | undefined;
      // An inbox of its own: what is delivered comes under its own subject, and a late status must not end the next batch. It comes
      // first, because it throws when the link is lost.
      const inbox = link.subscribe(createInbox(), (message) => each(message));
      const finish = (end: Batch['end'] | LogError) => {
        clearInterval(silence);
        clearTimeout(again);
        lost.release();
        if (!inbox.isClosed()) inbox.unsubscribe();
        if (end instanceof LogError) reject(end);
        else resolve({ messages, end });
      };
      const silence = setInterval(() => {
        if (!heard) return finish(new LogError('LOG_UNAVAILABLE', 'The NATS server stopped answering while it was read.'));
        heard = false;
      }, SILENT_AFTER_MS);
      const each = (message: Msg) => {
        heard = true;
        const place = placeOf(message);
        if (place === undefined && isNobody(message) && triesLeft > 0) {
          triesLeft -= 1;
          again = setTimeout(ask, NOBODY_PAUSE_MS);
          return;
        }
        if (place === undefined) return finish(isStrict ? this.#requireAll(endOf(message)) : endOf(message));
        if (place.delivered !== this.#came + 1) return finish(new CursorLost());
        this.#came = place.delivered;
        this.#least = Math.max(this.#least, place.delivered + place.pending);
        messages.push({ subject: message.subject, seq: place.seq, storedAtMs: place.storedAtMs, data: message.data, message });
        if (place.pending === 0) finish('all');
        else if (messages.length >= maxEvents) finish('more');
      };
      const lost = link.whenLost((reason) => finish(new LogError('LOG_UNAVAILABLE', `The connection was lost: ${reason}.`)));
      const request = { batch: maxEvents, ...(maxBytes === undefined ? {} : { max_bytes: maxBytes }), ...(waitMs === undefined ? { no_wait: true } : { expires: waitMs * NANOS_PER_MS }) };
      const ask = () => link.publish(`$JS.API.CONSUMER.MSG.NEXT.${this.#streamName}.${this.#name}`, encoder.encode(JSON.stringify(request)), inbox.getSubject());
      ask();
    });
  }

  /** `all` is what the server has sent; what was deleted before it could be is taken for lost as well. */
  #requireAll(end: Batch['end'] | LogError): Batch['end'] | LogError {
    return end === 'all' && this.#came < this.#least ? new CursorLost() : end;
  }

  close(): void {
    this.stream.link.publish(`$JS.API.CONSUMER.DELETE.${this.#streamName}.${this.#name}`, new Uint8Array(0));
  }
}

/** How many messages of the filters lie behind a sequence, as of now. */
export async function countAfter(stream: OpenStream, filters: readonly string[], after: number): Promise<number> {
  const cursor = await JetStreamCursor.open(stream, { filters, from: { after } });
  cursor.close();
  return cursor.pendingAtStart;
}

export interface DeliveryPlace {
  readonly attempt: number;
  /** 1, 2, 3 … of the consumer's. */
  readonly delivered: number;
  readonly seq: number;
  readonly storedAtMs: number;
  readonly pending: number;
}

/** What a delivered message's reply subject says, in its old form and the one with domain and account; undefined: it is a status. */
export function placeOf(message: Msg): DeliveryPlace | undefined {
  const { reply } = message;
  if (reply === undefined || !reply.startsWith('$JS.ACK.')) return undefined;
  const tokens = reply.split('.');
  const at = tokens.length === 9 ? 4 : 6;
  return { attempt: Number(tokens[at]), seq: Number(tokens[at + 1]), delivered: Number(tokens[at + 2]), storedAtMs: Number(tokens[at + 3]?.slice(0, -6)), pending: Number(tokens[at + 4]) };
}

function endOf(message: Msg): Batch['end'] | LogError {
  const code = message.headers?.code ?? 0;
  const text = message.headers?.description ?? '';
  if (code === 404 || code === 408) return 'all';
  if (code === 409 && /max ?bytes/i.test(text)) return 'bytes';
  return new LogError('LOG_UNAVAILABLE', `The NATS server ended the reading: ${code} ${text}.`);
}
