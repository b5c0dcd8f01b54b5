import { CarillonError, type ControlFrame, type ErrorCode } from '@carillon/wire';
import { abortedError } from './abort.ts';
import type { AgainOptions, ConsumeOptions, Consumer, Delivery } from './consumer.ts';
import { Readers } from './readers.ts';
import type { ReceivedEvent } from './received-event.ts';
import { Settlements, unknownDelivery, type Verdict } from './settlements.ts';
import type { AnswerFrame, AskFrame, StandingRequest, StandingRole } from './standing-request.ts';

export interface MemberOptions {
  readonly name: string;
  readonly rooms: readonly string[];
  readonly settings: ConsumeOptions;
  readonly open: (role: StandingRole) => StandingRequest;
  /** It has something to settle. */
  readonly onSay: (request: StandingRequest) => void;
}

const NAME = /^[0-9A-Za-z_-]{1,64}$/;
const WINDOW = 64;
/** What a text field of a control frame holds. */
const REASON_MAX_CHARACTERS = 1_024;
/** What ends a membership, or says that it has ended, whatever else is said at the time. */
const OVER: ReadonlySet<string> = new Set<ErrorCode>(['RECEIVE_DENIED', 'CONSUMER_UNKNOWN', 'REQUEST_UNKNOWN', 'INTERNAL']);
const COUNTS = ['ackTimeoutMs', 'maxDeliveries', 'maxInFlight', 'window'] as const;

/**
 * A place among a consumer's members. It holds deliveries by sequence from their coming until they are settled, replaced by
 * a later try, or their connection is gone; what it does not hold it does not settle. The hub keeps to the window, so beyond it
 * the oldest has timed out there: what is held, read or not, is never more.
 */
export class ConsumerMember implements Consumer, StandingRole {
  readonly name: string;
  readonly rooms: readonly string[];
  readonly #settings: Omit<ConsumeOptions, 'signal'> & { readonly window: number };
  readonly #signal: AbortSignal | undefined;
  readonly #onSay: MemberOptions['onSay'];
  readonly #readers = new Readers<Delivery>();
  readonly #held = new Map<number, Delivery>();
  readonly #unread = new Map<number, Delivery>();
  readonly #settlements = new Settlements();
  readonly #request: StandingRequest;
  #closing: Promise<void> | undefined;

  /** Codes (thrown): CONSUMER_INVALID. */
  constructor({ name, rooms, settings, open, onSay }: MemberOptions) {
    if (!NAME.test(name)) throw new CarillonError('CONSUMER_INVALID', 'a name is 1 to 64 of 0-9A-Za-z_-');
    for (const key of COUNTS) if (settings[key] !== undefined && !(Number.isSafeInteger(settings[key]) && settings[key] > 0)) throw new CarillonError('CONSUMER_INVALID', `${key} is ${settings[key]}`);
    this.name = name;
    this.rooms = rooms;
    const { signal, ...rest } = settings;
    this.#settings = { ...rest, window: settings.window ?? WINDOW };
    this.#signal = signal;
    this.#onSay = onSay;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#request = open(this);
  }

  get closed(): boolean {
    return this.#readers.isEnded;
  }

  get isSettling(): boolean {
    return !this.#settlements.isEmpty;
  }

  ready(): Promise<void> {
    return this.#request.ready();
  }

  close(): Promise<void> {
    return this.#leave();
  }

  ask(request: string): AskFrame {
    return { ...this.#settings, op: 'consume', request, name: this.name, rooms: this.rooms };
  }

  says(request: string): readonly ControlFrame[] {
    return this.#settlements.frames(request);
  }

  hear(frame: AnswerFrame): void {
    if (frame.op === 'settled') this.#settlements.settled(frame);
  }

  event(event: ReceivedEvent, attempt: number): void {
    const { seq } = event;
    if (seq === undefined || this.closed) return;
    const delivery: Delivery = {
      event,
      attempt,
      ack: () => this.#settle(seq, delivery, { op: 'ack' }),
      nack: (options) => this.#settle(seq, delivery, again('nack', options)),
      defer: (options) => this.#settle(seq, delivery, again('defer', options)),
      discard: (reason) => this.#settle(seq, delivery, { op: 'discard', ...shortened(reason) }),
    };
    this.#drop(seq);
    this.#held.set(seq, delivery);
    if (!this.#readers.give(delivery)) this.#unread.set(seq, delivery);
    const [oldest] = this.#held.keys();
    if (this.#held.size > this.#settings.window && oldest !== undefined) this.#drop(oldest);
  }

  refused(error: CarillonError): boolean {
    return !OVER.has(error.code) && this.#settlements.refused(error);
  }

  lost(): void {
    this.#held.clear();
    this.#unread.clear();
    this.#settlements.lost();
  }

  ended(error: CarillonError | undefined): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#readers.end(error);
  }

  /** `never`: what `json()` returns is whatever the caller of `consume` says. */
  [Symbol.asyncIterator](): AsyncIterator<Delivery<never>, undefined> {
    return {
      next: () => this.#next() as Promise<IteratorResult<Delivery<never>, undefined>>,
      return: () => this.close().then(() => ({ done: true, value: undefined })),
    };
  }

  #next(): Promise<IteratorResult<Delivery, undefined>> {
    const [first] = this.#unread;
    if (first === undefined) return this.#readers.next();
    this.#unread.delete(first[0]);
    return Promise.resolve({ done: false, value: first[1] });
  }

  async #settle(seq: number, delivery: Delivery, verdict: Verdict): Promise<void> {
    if (this.#held.get(seq) !== delivery) throw unknownDelivery('it was settled before, timed out, or its connection is gone');
    if ('delayMs' in verdict && !(Number.isSafeInteger(verdict.delayMs) && verdict.delayMs >= 0)) throw new RangeError(`delayMs is ${verdict.delayMs}`);
    this.#drop(seq);
    const settled = this.#settlements.add(seq, verdict, () => {
      if (!this.closed && !this.#held.has(seq)) this.#held.set(seq, delivery);
    });
    this.#onSay(this.#request);
    return settled;
  }

  #drop(seq: number): void {
    this.#held.delete(seq);
    this.#unread.delete(seq);
  }

  /** What is being settled is waited for: after it left, the hub would not say. */
  #leave(error?: CarillonError): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    this.#readers.end(error);
    this.#held.clear();
    this.#unread.clear();
    if (this.#settlements.isEmpty) this.#request.close();
    this.#closing = this.#settlements.whenEmpty().then(() => this.#request.close());
    return this.#closing;
  }

  readonly #onAbort = (): void => {
    if (this.#signal !== undefined) void this.#leave(abortedError(this.#signal));
  };
}

function again(op: 'nack' | 'defer', { delayMs, reason }: AgainOptions = {}): Verdict {
  return { op, ...(delayMs === undefined ? {} : { delayMs }), ...shortened(reason) };
}

function shortened(reason: string | undefined): { readonly reason?: string } {
  return reason === undefined ? {} : { reason: reason.slice(0, REASON_MAX_CHARACTERS) };
}
