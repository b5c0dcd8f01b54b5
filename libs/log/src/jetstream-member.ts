import { createInbox, type Msg } from '@nats-io/transport-node';

import { LogError, type ConsumerInfo, type ConsumerSpec, type DeadDelivery, type Delivery, type LogConsumer } from './event-log.ts';
import { ConsumerAbsence, unknownConsumer } from './jetstream-absence.ts';
import { ACK_SLACK_KEPT_MS, ACK_SLACK_MS, durableName } from './jetstream-consumers.ts';
import { placeOf } from './jetstream-cursor.ts';
import { JetStreamDelivery } from './jetstream-delivery.ts';
import { isNobody } from './jetstream-link.ts';
import { isExpired, wanter } from './jetstream-reader.ts';
import { decodeRecord } from './jetstream-record.ts';
import { asLogError, type OpenStream } from './jetstream-stream.ts';
import { closedFault } from './log-faults.ts';

/*
 * A pull asks for what there is; if that is nothing it waits for one event, and asks for the rest once that has come. So a member
 * never holds more than it was asked for, and what it does not want any more it has not got.
 *
 * A pull that waits has a heartbeat of the consumer's leader: one that is gone is found out by its silence, and what comes after a heartbeat
 * was not sent before it. JetStream does not say when it sent a delivery, which a route may have held up for as long as its time.
 */
const NANOS_PER_MS = 1_000_000;
const WAIT_MS = 15_000;
const RETRY_MS = 300;
const HEARTBEAT_MS = 1_000;
// Turns of a timer, not the clock: a process that stood still reads what has come before it judges. 2 to 3 s.
const SILENT_TURNS = 3;
const IDLE_HEARTBEAT = 100;
const encoder = new TextEncoder();

export interface MemberOptions {
  readonly spec: ConsumerSpec;
  readonly dead: (dead: DeadDelivery) => Promise<void>;
  /** The stream as soon as it is there; rejects with LOG_CLOSED. */
  readonly ready: (signal?: AbortSignal) => Promise<OpenStream>;
  /** The stream as it is now; undefined: away. */
  readonly current: () => OpenStream | undefined;
  readonly warn: (text: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly closed: (member: JetStreamMember) => void;
}

interface TimedMessage {
  readonly message: Msg;
  /** When its time is over here, by `performance.now()`. */
  readonly dueMs: number;
}

/** A member of a durable consumer. The `prevSeq` of what it is given is 0: JetStream does not say it to consumers. */
export class JetStreamMember implements LogConsumer {
  readonly spec: ConsumerSpec;
  readonly #options: MemberOptions;
  readonly #wants: (subject: string) => boolean;
  readonly #held = new Set<JetStreamDelivery>();
  readonly #closing = new AbortController();
  readonly #absence: ConsumerAbsence;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.spec = options.spec;
    this.#wants = wanter(options.spec.rooms);
    this.#absence = new ConsumerAbsence(options.spec);
  }

  /** Its consumer was deleted by this process. */
  deleted(): void {
    this.#absence.deleted();
  }

  async pull(max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    if (this.#closing.signal.aborted) throw closedFault();
    const until = AbortSignal.any([signal, this.#closing.signal]);
    while (!until.aborted) {
      const stream = await this.#options.ready(until).catch((error: unknown) => (until.aborted && !isClosed(error) ? undefined : Promise.reject(asLogError(error))));
      if (stream === undefined) break;
      try {
        const deliveries = await this.#ask(stream, { max, until });
        if (deliveries.length > 0) return deliveries;
      } catch (error) {
        if (error instanceof LogError && error.code === 'CONSUMER_UNKNOWN') throw error;
        await pause(RETRY_MS, until);
      }
    }
    return [];
  }

  async info(): Promise<ConsumerInfo> {
    const stream = await this.#options.ready();
    const info = await this.#absence.look(stream).catch((error: unknown) => Promise.reject(asLogError(error)));
    if (info === undefined) throw unknownConsumer(this.spec);
    return { pending: info.num_pending, inFlight: info.num_ack_pending, settledSeq: info.ack_floor.stream_seq };
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await Promise.all([...this.#held].map((delivery) => delivery.giveBack()));
    this.#options.closed(this);
  }

  async #ask(stream: OpenStream, { max, until }: { readonly max: number; readonly until: AbortSignal }): Promise<readonly Delivery[]> {
    const ready = await this.#take(await this.#request(stream, { batch: max, until }), stream);
    if (ready.length > 0 || until.aborted) return ready;
    const first = await this.#take(await this.#request(stream, { batch: 1, waitMs: WAIT_MS, until }), stream);
    if (first.length === 0 || max === 1 || until.aborted) return first;
    return [...first, ...(await this.#take(await this.#request(stream, { batch: max - 1, until }).catch(() => []), stream))];
  }

  /** One request; its inbox goes with it, so that the server gives nothing to one that nobody reads any more. */
  #request(stream: OpenStream, { batch, waitMs, until }: { readonly batch: number; readonly waitMs?: number; readonly until: AbortSignal }): Promise<readonly TimedMessage[]> {
    const { link } = stream;
    return new Promise((resolve, reject) => {
      const messages: TimedMessage[] = [];
      const askedMs = performance.now();
      let heartbeats = 0;
      let silentTurns = 0;
      let isDone = false;
      const end = (error?: unknown) => {
        if (isDone) return;
        isDone = true;
        clearInterval(silence);
        until.removeEventListener('abort', abort);
        lost.release();
        if (!inbox.isClosed()) inbox.unsubscribe();
        if (error === undefined || messages.length > 0) resolve(messages);
        else reject(asLogError(error));
      };
      const inbox = link.subscribe(createInbox(), (message) => {
        silentTurns = 0;
        const dueMs = this.#dueOf(askedMs + heartbeats * HEARTBEAT_MS);
        // Sent before the server knew that nobody waits any more. What is late others may have by now.
        if (isDone) return performance.now() < dueMs ? link.publish(message.reply ?? '', encoder.encode('-NAK')) : undefined;
        if (placeOf(message) !== undefined) {
          messages.push({ message, dueMs });
          if (messages.length >= batch) end();
        } else if (message.headers?.code === IDLE_HEARTBEAT) heartbeats += 1;
        else if (isNobody(message) || message.headers?.code === 409) {
          this.#whyNobody(stream).then(end, end);
        } else if ((message.headers?.code ?? 0) >= 400) end();
      });
      const lost = link.whenLost((reason) => end(new LogError('LOG_UNAVAILABLE', `The connection was lost: ${reason}.`)));
      const silence = setInterval(() => {
        silentTurns += 1;
        if (silentTurns >= SILENT_TURNS) end(new LogError('LOG_UNAVAILABLE', 'The NATS server did not answer.'));
      }, HEARTBEAT_MS);
      // What was sent before the server heard of the end still comes: the inbox stays until then.
      const abort = () => void inbox.drain().then(() => end(), end);
      const request = { batch, ...(waitMs === undefined ? { no_wait: true } : { expires: waitMs * NANOS_PER_MS, idle_heartbeat: HEARTBEAT_MS * NANOS_PER_MS }) };
      link.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream.name}.${durableName(this.spec)}`, encoder.encode(JSON.stringify(request)), inbox.getSubject());
      if (until.aborted) abort();
      else until.addEventListener('abort', abort, { once: true });
    });
  }

  /** When the time of what comes now is over here, which was not sent before `sentMs`: before the server gives it to others. */
  #dueOf(sentMs: number): number {
    const { ackTimeoutMs } = this.spec;
    return Math.min(performance.now(), sentMs + ACK_SLACK_MS - ACK_SLACK_KEPT_MS) + ackTimeoutMs;
  }

  async #whyNobody(stream: OpenStream): Promise<LogError> {
    const info = await this.#absence.look(stream);
    return info === undefined ? unknownConsumer(this.spec) : new LogError('LOG_UNAVAILABLE', 'The consumer has no leader at the moment.');
  }

  /** What a member may have of what came; the rest is settled here. */
  async #take(messages: readonly TimedMessage[], stream: OpenStream): Promise<readonly Delivery[]> {
    const taken: Delivery[] = [];
    for (const { message, dueMs } of messages) {
      const place = placeOf(message);
      if (place === undefined) continue;
      const reply = message.reply ?? '';
      const event = decodeRecord(message.subject, message.data, { seq: place.seq, prevSeq: 0, storedAtMs: place.storedAtMs });
      if (event === undefined || !this.#wants(message.subject) || isExpired(event, Date.now())) {
        if (event === undefined) this.#options.warn('A message of the stream is no event of the log and is passed over', { seq: place.seq });
        stream.link.publish(reply, encoder.encode('+TERM'));
        continue;
      }
      // Held up on its way: it is due again, or others have it.
      if (performance.now() >= dueMs) continue;
      const { spec, dead, warn } = this.#options;
      const delivery = new JetStreamDelivery({ event, attempt: place.attempt, reply, stream: this.#options.current, spec, absence: this.#absence, dueMs, dead, warn, settled: (settled) => this.#held.delete(settled) });
      this.#held.add(delivery);
      if (place.attempt > spec.maxDeliveries) void delivery.bury(`not settled in ${spec.maxDeliveries} attempts`).catch(() => undefined);
      else if (this.#closing.signal.aborted) await delivery.giveBack();
      else taken.push(delivery);
    }
    return taken;
  }
}

const isClosed = (error: unknown): boolean => error instanceof LogError && error.code === 'LOG_CLOSED';

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}
