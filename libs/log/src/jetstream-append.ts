import type { Msg } from '@nats-io/transport-node';

import { AppendOrder, Standing, TURN_MS, type Ordered } from './append-order.ts';
import { LogError, type Appended, type LogEvent } from './event-log.ts';
import { classOf, outcomeOf, type PublishOutcome } from './jetstream-ack.ts';
import { idHeader } from './jetstream-header.ts';
import type { Awaiting } from './jetstream-link.ts';
import { isDeleted, storedAt } from './jetstream-lookup.ts';
import { encodeRecord } from './jetstream-record.ts';
import { asLogError, type OpenStream } from './jetstream-stream.ts';
import { LogSubjects, requireName } from './jetstream-subjects.ts';

/*
 * Publishes are pipelined: each is written at once, acks come to the link's inbox in their own time. What was lost or refused for now is
 * sent again with its id, in the order of append-order.ts, until `timeoutMs` after it was appended it ends as LOG_UNAVAILABLE; the caller
 * tries again with the same id and the server tells it apart.
 *
 * The server remembers ids for its duplicate window, also of events that are deleted: such an id goes again with the sequence of
 * the deleted event behind it, which is the same for everybody who tries.
 */
const OVERHEAD_BYTES = 512;
/*
 * A leader answers that it is just storing an id from the time that it has proposed the event until a quorum has it, or until it is no
 * leader any more: one that is parted from the others steps down after 20 s at most (lostQuorumInterval and lostQuorumCheck of raft.go). Servers
 * before 2.11 may keep such an id for the whole duplicate window when they lead again, though the event is lost. It goes under another id then.
 */
const LOST_ID_MS = 25_000;

export interface AppenderOptions {
  readonly eventMaxBytes: number;
  readonly inFlightMaxBytes: number;
  readonly timeoutMs: number;
  /** Called when nobody answers for the stream's subjects. */
  readonly nobodyThere: () => void;
}

export class JetStreamAppender {
  readonly #options: AppenderOptions;
  readonly #subjects = new LogSubjects();
  readonly #order: AppendOrder<Publish>;
  /** Of what is appended and not settled: the workspace by the id. */
  readonly #ids = new Map<string, string>();
  #stream: OpenStream | undefined;
  #epoch = '';
  #timer: NodeJS.Timeout | undefined;
  #failure = 'it did not answer in time';
  /** The id that the server says it is just storing, and since when. */
  #busy: { readonly messageId: string; readonly sinceMs: number } | undefined;
  #inFlightBytes = 0;
  #inFlight = 0;
  #backlogged = 0;
  #idle: (() => void) | undefined;

  constructor(options: AppenderOptions) {
    this.#options = options;
    this.#order = new AppendOrder({ timeoutMs: options.timeoutMs, afterTurn: setImmediate, send: (publish) => this.#send(publish), refuse: (publish) => publish.settle(this.#lateError(publish)) });
  }

  /** What waits is sent on this stream, and what comes. */
  attach(stream: OpenStream): void {
    // Sequences of another epoch say nothing about this one.
    if (stream.epoch !== this.#epoch) for (const publish of this.#order.pending()) publish.headBefore = 0;
    this.#epoch = stream.epoch;
    this.#stream = stream;
    this.#order.attach();
  }

  /** Nothing is sent; what was appended waits for another stream. */
  detach(): void {
    this.#stream = undefined;
    this.#order.detach();
  }

  append(event: LogEvent): Promise<Appended> {
    const { eventMaxBytes, inFlightMaxBytes } = this.#options;
    const payloadMaxBytes = this.#stream?.link.payloadMaxBytes ?? Infinity;
    const byteCount = event.body.length + OVERHEAD_BYTES;
    if (event.body.length > eventMaxBytes || byteCount + event.fields.length * 3 > payloadMaxBytes) {
      return Promise.reject(new LogError('EVENT_TOO_LARGE', `The event has ${event.body.length} bytes; the log takes ${Math.min(eventMaxBytes, payloadMaxBytes)}.`));
    }
    if (this.#inFlightBytes > 0 && this.#inFlightBytes + byteCount > inFlightMaxBytes) {
      this.#backlogged += 1;
      return Promise.reject(new LogError('LOG_BACKLOGGED', 'As many bytes as may wait to be stored already do.'));
    }
    return new Promise((resolve, reject) => {
      requireName('event id', event.id);
      const subject = this.#subjects.of(event.workspaceId, event.room);
      const isRepeat = this.#ids.get(event.id) === event.workspaceId;
      if (!isRepeat) this.#ids.set(event.id, event.workspaceId);
      this.#inFlightBytes += byteCount;
      this.#inFlight += 1;
      const settle = (outcome: Appended | LogError) => {
        if (!isRepeat) this.#ids.delete(event.id);
        this.#inFlightBytes -= byteCount;
        this.#inFlight -= 1;
        if (this.#inFlight === 0) this.#idle?.();
        if (outcome instanceof LogError) reject(outcome);
        else resolve(outcome);
      };
      this.#add({ event, subject, messageId: idOf(event), isRepeat, settle });
    });
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  /** How long the first that has no place has waited for one. */
  get waitedMs(): number {
    return this.#order.waitedMs;
  }

  get backlogged(): number {
    return this.#backlogged;
  }

  /** Resolves when everything that was appended is settled. */
  async drained(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  #add(options: PublishOptions): void {
    this.#timer ??= setInterval(() => this.#turn(), TURN_MS);
    this.#order.add(new Publish(options, (publish, outcome) => this.#answered(publish, outcome)));
  }

  #turn(): void {
    this.#order.turn();
    if (!this.#order.isEmpty) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #send(publish: Publish): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    if (publish.standing.sends === 1) publish.headBefore = stream.seen.head;
    try {
      stream.link.send(publish.subject, encodeRecord(publish.event), publish, idHeader(publish.messageId));
    } catch (error) {
      this.#settle(publish, asLogError(error));
    }
  }

  #answered(publish: Publish, outcome: PublishOutcome): void {
    if (!this.#order.answered(publish)) {
      if (outcome.kind === 'failed' && outcome.isNobody === true) this.#order.hold();
      return;
    }
    const stream = this.#stream;
    // The stream was left while the answer was under way: which one gave it is not certain any more.
    if (stream === undefined) return this.#order.failed(publish);
    switch (outcome.kind) {
      case 'stored':
        stream.seen.head = Math.max(stream.seen.head, outcome.seq);
        this.#order.leave(publish, { isStored: true });
        return publish.settle({ seq: outcome.seq, class: classOf(stream), duplicate: false });
      case 'known':
        this.#order.leave(publish, { isStored: false });
        return this.#compare(stream, publish, outcome.seq);
      case 'refused': {
        // What waits behind it would be refused as well, or be stored out of its order if it is smaller.
        const behind = outcome.error.code === 'LOG_FULL' ? this.#order.takeUnsent() : [];
        this.#settle(publish, outcome.error);
        for (const next of behind) next.settle(outcome.error);
        return;
      }
      case 'failed':
        if (outcome.isNobody === true) this.#options.nobodyThere();
        this.#failure = outcome.reason;
        if (outcome.isBusy === true) this.#watchBusy(publish);
        return this.#order.failed(publish);
      default:
        return outcome satisfies never;
    }
  }

  #settle(publish: Publish, error: LogError): void {
    this.#order.leave(publish, { isStored: false });
    publish.settle(error);
  }

  /** What is first in its order is asked for again until it is known, so that an id which the server has lost the event of would hold everything. */
  #watchBusy(publish: Publish): void {
    const { messageId, event } = publish;
    const nowMs = performance.now();
    if (this.#busy?.messageId !== messageId) this.#busy = { messageId, sinceMs: nowMs };
    else if (nowMs - this.#busy.sinceMs >= LOST_ID_MS) publish.messageId = idOf(event, 0);
  }

  /** The id is there: the event itself, another one, or one that is deleted by now. */
  #compare(stream: OpenStream, publish: Publish, seq: number): void {
    const { event, settle, isRepeat, headBefore, standing } = publish;
    // It came after the first of several times that it was sent from here: that was it.
    const isOurs = standing.sends > 1 && !isRepeat && seq > headBefore;
    stream.seen.head = Math.max(stream.seen.head, seq);
    compare(stream, event, seq).then(
      (verdict) => {
        if (verdict === 'other') settle(new LogError('EVENT_ID_REUSED', `The id ${event.id} is of another event, in another room or with another body.`));
        else if (verdict === 'same' || isOurs) settle({ seq, class: classOf(stream), duplicate: !isOurs });
        else this.#add({ event, subject: publish.subject, messageId: idOf(event, seq), isRepeat, settle });
      },
      (error: unknown) => settle(asLogError(error)),
    );
  }

  #lateError({ standing }: Publish): LogError {
    return new LogError('LOG_UNAVAILABLE', standing.sends === 0 ? `The event was not sent: the log could not store one before it in time, ${this.#failure}.` : `The event may or may not be stored: ${this.#failure}.`);
  }
}

interface PublishOptions {
  readonly event: LogEvent;
  readonly subject: string;
  readonly messageId: string;
  /** The same id was under way already when this one was appended. */
  readonly isRepeat: boolean;
  readonly settle: (outcome: Appended | LogError) => void;
}

/** One event on its way, until it is settled; each time that it is sent it awaits an answer. */
class Publish implements Awaiting, Ordered, PublishOptions {
  readonly standing = new Standing();
  readonly event: LogEvent;
  readonly subject: string;
  messageId: string;
  readonly isRepeat: boolean;
  readonly settle: (outcome: Appended | LogError) => void;
  /** The end of the stream, as it was known when this was sent first. */
  headBefore = 0;
  dueTurn = 0;
  readonly #answered: (publish: Publish, outcome: PublishOutcome) => void;

  constructor({ event, subject, messageId, isRepeat, settle }: PublishOptions, answered: (publish: Publish, outcome: PublishOutcome) => void) {
    this.event = event;
    this.subject = subject;
    this.messageId = messageId;
    this.isRepeat = isRepeat;
    this.settle = settle;
    this.#answered = answered;
  }

  answered(message: Msg | undefined, failure?: string): void {
    this.#answered(this, outcomeOf(message, failure));
  }
}

/** What the server is to know the event by; `lostSeq`: it has lost the event that it knows by the id alone, or by an earlier one of these. */
const idOf = ({ workspaceId, id }: LogEvent, lostSeq?: number): string => `${workspaceId}/${id}${lostSeq === undefined ? '' : `~${lostSeq}`}`;

async function compare(stream: OpenStream, event: LogEvent, seq: number): Promise<'same' | 'other' | 'gone'> {
  const stored = await storedAt(stream, seq);
  if (stored === undefined) {
    if (await isDeleted(stream, seq)) return 'gone';
    throw new LogError('LOG_UNAVAILABLE', 'The event is stored, says one nats-server, and another one knows nothing of it yet.');
  }
  return stored.workspaceId === event.workspaceId && stored.id === event.id && stored.room === event.room && Buffer.compare(stored.body, event.body) === 0 ? 'same' : 'other';
}
