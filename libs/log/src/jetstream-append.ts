import type { Msg } from '@nats-io/transport-node';

import { LogError, type Appended, type LogEvent, type StoredClass } from './event-log.ts';
import { idHeader } from './jetstream-header.ts';
import { isNobody, type Awaiting } from './jetstream-link.ts';
import { storedAt } from './jetstream-lookup.ts';
import { encodeRecord } from './jetstream-record.ts';
import { asLogError, type OpenStream } from './jetstream-stream.ts';
import { LogSubjects, requireName } from './jetstream-subjects.ts';

/*
 * Publishes are pipelined: each is written at once, acks come to the link's inbox in their own time. What was not acked when the
 * link is lost ends as LOG_UNAVAILABLE; the caller tries again with the same id and the server tells it apart.
 *
 * The server remembers ids for its duplicate window, also of events that are deleted: such an id goes again with the sequence of
 * the deleted event behind it, which is the same for everybody who tries.
 */
const OVERHEAD_BYTES = 512;
// Of publish acks: the stream or the account is full; the message is larger than the stream takes; the same id is just being stored.
const FULL_CODES: ReadonlySet<number> = new Set([10_023, 10_047, 10_077]);
const FULL_TEXT = /maximum|insufficient|no space|exceeded/i;
const TOO_LARGE_CODE = 10_054;
const IN_PROCESS_CODES: ReadonlySet<number> = new Set([10_158, 10_201]);
const IN_PROCESS_PAUSE_MS = 50;
const IN_PROCESS_TRIES = 40;
// An ack that says nothing but where: parsed as JSON it costs three times as much.
const PLAIN_ACK = /^\{"stream":"[^"\\]*", ?"seq":(\d+)\}$/;
const encoder = new TextEncoder();

interface Ack {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { readonly err_code?: number; readonly description: string };
}

export interface AppenderOptions {
  readonly eventMaxBytes: number;
  readonly inFlightMaxBytes: number;
  /** Called when nobody answers for the stream's subjects. */
  readonly nobodyThere: () => void;
}

export class JetStreamAppender {
  readonly #options: AppenderOptions;
  readonly #subjects = new LogSubjects();
  #inFlightBytes = 0;
  #inFlight = 0;
  #backlogged = 0;
  #idle: (() => void) | undefined;

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  append(stream: OpenStream, event: LogEvent): Promise<Appended> {
    const { eventMaxBytes, inFlightMaxBytes } = this.#options;
    const byteCount = event.body.length + OVERHEAD_BYTES;
    if (event.body.length > eventMaxBytes || byteCount + event.fields.length * 3 > stream.link.payloadMaxBytes) {
      return Promise.reject(new LogError('EVENT_TOO_LARGE', `The event has ${event.body.length} bytes; the log takes ${Math.min(eventMaxBytes, stream.link.payloadMaxBytes)}.`));
    }
    if (this.#inFlightBytes > 0 && this.#inFlightBytes + byteCount > inFlightMaxBytes) {
      this.#backlogged += 1;
      return Promise.reject(new LogError('LOG_BACKLOGGED', 'As many bytes as may wait to be stored already do.'));
    }
    return new Promise((resolve, reject) => {
      requireName('event id', event.id);
      const subject = this.#subjects.of(event.workspaceId, event.room);
      this.#inFlightBytes += byteCount;
      this.#inFlight += 1;
      const settle = (outcome: Appended | LogError) => {
        this.#inFlightBytes -= byteCount;
        this.#inFlight -= 1;
        if (this.#inFlight === 0) this.#idle?.();
        if (outcome instanceof LogError) reject(outcome);
        else resolve(outcome);
      };
      new Publish(stream, { event, subject, settle, nobodyThere: this.#options.nobodyThere }).send();
    });
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  get backlogged(): number {
    return this.#backlogged;
  }

  /** Resolves when everything that was appended is settled. */
  async drained(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }
}

interface PublishOptions {
  readonly event: LogEvent;
  readonly subject: string;
  readonly settle: (outcome: Appended | LogError) => void;
  readonly nobodyThere: () => void;
}

/** One event on its way, until it is settled. */
class Publish implements Awaiting {
  dueTurn = 0;
  readonly #stream: OpenStream;
  readonly #options: PublishOptions;
  #messageId: string;
  #triesLeft = IN_PROCESS_TRIES;

  constructor(stream: OpenStream, options: PublishOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#messageId = `${options.event.workspaceId}/${options.event.id}`;
  }

  send(): void {
    const { subject, event, settle } = this.#options;
    try {
      this.#stream.link.send(subject, encodeRecord(event), this, idHeader(this.#messageId));
    } catch (error) {
      settle(asLogError(error));
    }
  }

  answered(message: Msg | undefined, failure?: string): void {
    const { settle, nobodyThere } = this.#options;
    const ack = readAck(message);
    if (ack === 'nobody') {
      nobodyThere();
      return settle(new LogError('LOG_UNAVAILABLE', 'Nobody answers for the stream of the event log: it is gone, has no leader, or the server has no JetStream.'));
    }
    if (ack === undefined) return settle(new LogError('LOG_UNAVAILABLE', `The event may or may not be stored: ${failure ?? 'the answer cannot be read'}.`));
    if (ack.error !== undefined) return this.#refused(ack.error);
    const seq = ack.seq ?? 0;
    this.#stream.seen.head = Math.max(this.#stream.seen.head, seq);
    if (ack.duplicate === true) this.#compare(seq);
    else settle({ seq, class: classOf(this.#stream), duplicate: false });
  }

  #refused(error: NonNullable<Ack['error']>): void {
    if (!IN_PROCESS_CODES.has(error.err_code ?? 0) || this.#triesLeft === 0) return this.#options.settle(refusalOf(error));
    this.#triesLeft -= 1;
    setTimeout(() => this.send(), IN_PROCESS_PAUSE_MS);
  }

  #compare(seq: number): void {
    const { event, settle } = this.#options;
    compare(this.#stream, event, seq).then(
      (verdict) => {
        if (verdict === 'gone') {
          this.#messageId = `${event.workspaceId}/${event.id}~${seq}`;
          this.send();
        } else {
          settle(verdict === 'same' ? { seq, class: classOf(this.#stream), duplicate: true } : new LogError('EVENT_ID_REUSED', `The id ${event.id} is of another event, in another room or with another body.`));
        }
      },
      (error: unknown) => settle(asLogError(error)),
    );
  }
}

async function compare(stream: OpenStream, event: LogEvent, seq: number): Promise<'same' | 'other' | 'gone'> {
  const stored = await storedAt(stream, seq);
  if (stored === undefined) return 'gone';
  return stored.workspaceId === event.workspaceId && stored.id === event.id && stored.room === event.room && Buffer.compare(stored.body, event.body) === 0 ? 'same' : 'other';
}

/** The sequence of the first event with this id that the server remembers; nothing is stored by asking. */
export async function rememberedSeq(stream: OpenStream, messageId: string, subject: string): Promise<number | undefined> {
  // A last sequence that no stream has: if the id does not make it a duplicate, this makes it a refusal.
  const ack = readAck(await stream.link.request(subject, encoder.encode('?'), idHeader(messageId, `Nats-Expected-Last-Sequence: ${Number.MAX_SAFE_INTEGER}\r\n`)));
  return ack !== undefined && ack !== 'nobody' && ack.duplicate === true ? ack.seq : undefined;
}

/** How safe an event of this stream is once it is acked. JetStream writes at once and fsyncs by its `sync_interval` (2 min by default). */
export const classOf = ({ replicas }: Pick<OpenStream, 'replicas'>): StoredClass => (replicas >= 3 ? 'replicated' : 'stored');

function readAck(message: Msg | undefined): Ack | 'nobody' | undefined {
  if (message === undefined) return undefined;
  if (isNobody(message)) return 'nobody';
  try {
    const text = message.string();
    const plain = PLAIN_ACK.exec(text);
    return plain === null ? (JSON.parse(text) as Ack) : { seq: Number(plain[1]) };
  } catch {
    return undefined;
  }
}

function refusalOf({ err_code: code = 0, description }: NonNullable<Ack['error']>): LogError {
  if (code === TOO_LARGE_CODE) return new LogError('EVENT_TOO_LARGE', `The stream does not take it: ${description}.`);
  if (FULL_CODES.has(code) && FULL_TEXT.test(description)) return new LogError('LOG_FULL', `The stream is full: ${description}.`);
  return new LogError('LOG_UNAVAILABLE', `The stream did not store it: ${description} (${code}).`);
}
