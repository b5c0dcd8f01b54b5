import { createInbox, type Msg, type MsgHdrs, type NatsConnection, type Subscription } from '@nats-io/transport-node';

import { LogError } from './event-log.ts';

/*
 * One connection from its opening to its loss; a reconnection is a new link. Every reply of the server comes to one inbox with
 * one subscription, whose last token says what it answers: nats-core's own request costs ten times as much.
 *
 *   send ──▶ waiting[token] ──▶ answer | timeout | link lost: exactly one of them
 */

// A silent server is given up after two of these without an answer: 4 to 6 s. Timeouts count turns of a timer, not the clock, so
// that a process that was itself stopped or busy reads what has arrived before it judges.
const HEARTBEAT_MS = 2_000;
const UNANSWERED_MAX = 2;
const TURN_MS = 100;
const NO_RESPONDERS = 503;
// What is asked while a leader is being elected is lost, and nobody says so.
const ASK_AGAIN_MS = 1_000;
const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();

/** Who waits for an answer. */
export interface Awaiting {
  /** Set by the link: the turn of its timer at which it is too late. */
  dueTurn: number;
  /** Called once with the answer, or with why there is none. */
  answered(message: Msg | undefined, failure?: string): void;
}

/** What JetStream's API refused; the code is JetStream's own. */
export class ApiFault extends Error {
  readonly code: number;

  constructor(code: number, description: string) {
    super(description);
    this.name = 'ApiFault';
    this.code = code;
  }
}

export interface LinkOptions {
  readonly timeoutMs: number;
  readonly warn: (text: string, fields: Readonly<Record<string, unknown>>) => void;
}

export class JetStreamLink {
  /** Resolves with the reason once the link is lost or closed. */
  readonly ended: Promise<string>;
  readonly #connection: NatsConnection;
  readonly #options: LinkOptions;
  readonly #inbox = `${createInbox()}.`;
  readonly #waiting = new Map<number, Awaiting>();
  /** What to tell when the link is lost. */
  readonly #losers = new Set<(reason: string) => void>();
  readonly #timeoutTurns: number;
  readonly #timers: readonly NodeJS.Timeout[];
  #token = 0;
  #turn = 0;
  #pinging = false;
  #unanswered = 0;
  #isEnded = false;
  #resolveEnded!: (reason: string) => void;

  constructor(connection: NatsConnection, options: LinkOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#timeoutTurns = Math.ceil(options.timeoutMs / TURN_MS) + 1;
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    connection.subscribe(`${this.#inbox}*`, { callback: (error, message) => this.#answer(error, message) });
    this.#timers = [setInterval(() => this.#beat(), HEARTBEAT_MS), setInterval(() => this.#expire(), TURN_MS)];
    void connection.closed().then((error) => this.#end(error instanceof Error ? error.message : 'the connection ended'));
    void this.#watchStatus();
  }

  get up(): boolean {
    return !this.#isEnded;
  }

  get version(): string {
    return this.#connection.info?.version ?? '';
  }

  get server(): string {
    return this.#connection.getServer();
  }

  get hasJetStream(): boolean {
    return this.#connection.info?.jetstream === true;
  }

  /** The server is one of several. */
  get isClustered(): boolean {
    return this.#connection.info?.cluster !== undefined;
  }

  get payloadMaxBytes(): number {
    return this.#connection.info?.max_payload ?? 0;
  }

  /** The other servers of the cluster, as far as the server told. */
  get peers(): readonly string[] {
    return this.#connection.info?.connect_urls ?? [];
  }

  /** Publishes and gives the answer, or why there is none, to who waits: once, never within this call. Returns where answers are awaited. */
  send(subject: string, payload: Uint8Array, awaiting: Awaiting, headers?: MsgHdrs): string {
    // The connection may have ended a moment before it says so.
    if (this.#isEnded || this.#connection.isClosed()) {
      queueMicrotask(() => awaiting.answered(undefined, 'the connection is lost'));
      return '';
    }
    const token = (this.#token += 1);
    awaiting.dueTurn = this.#turn + this.#timeoutTurns;
    this.#waiting.set(token, awaiting);
    const reply = this.#inbox + token.toString(36);
    this.#connection.publish(subject, payload, headers === undefined ? { reply } : { reply, headers });
    return reply;
  }

  /** Rejects with LOG_UNAVAILABLE when there is no answer. `isRepeatable`: it may be sent again, and is until it is answered. */
  request(subject: string, payload: Uint8Array = EMPTY, { headers, isRepeatable = false }: { readonly headers?: MsgHdrs; readonly isRepeatable?: boolean } = {}): Promise<Msg> {
    return new Promise((resolve, reject) => {
      const answered = (message: Msg | undefined, failure?: string) => {
        clearInterval(again);
        if (message === undefined) reject(new LogError('LOG_UNAVAILABLE', `The NATS server gave no answer: ${failure ?? 'unknown'}.`));
        else if (isNobody(message)) reject(new LogError('LOG_UNAVAILABLE', 'Nobody answers on the NATS server: it has no JetStream, or no stream of that name.'));
        else resolve(message);
      };
      const reply = this.send(subject, payload, { dueTurn: 0, answered }, headers);
      const again = isRepeatable ? setInterval(() => this.publish(subject, payload, reply), ASK_AGAIN_MS) : undefined;
    });
  }

  /** A request to JetStream's API that changes nothing, or the same if it is done twice; rejects with ApiFault when it refuses. */
  ask<Answer>(path: string, body?: object): Promise<Answer> {
    return this.api(path, body, { isRepeatable: true });
  }

  /** A request to JetStream's API; rejects with ApiFault when it refuses. */
  async api<Answer>(path: string, body?: object, { isRepeatable = false }: { readonly isRepeatable?: boolean } = {}): Promise<Answer> {
    const message = await this.request(`$JS.API.${path}`, body === undefined ? EMPTY : encoder.encode(JSON.stringify(body)), { isRepeatable });
    const answer = message.json<Answer & { readonly error?: { readonly code: number; readonly err_code?: number; readonly description: string } }>();
    if (answer.error !== undefined) throw new ApiFault(answer.error.err_code ?? answer.error.code, answer.error.description);
    return answer;
  }

  /** Calls `lost`, later, when the link is lost before the release. */
  whenLost(lost: (reason: string) => void): { release(): void } {
    if (this.#isEnded) queueMicrotask(() => lost('it had ended'));
    else this.#losers.add(lost);
    return { release: () => void this.#losers.delete(lost) };
  }

  /** Nothing comes of it when the link is lost. */
  publish(subject: string, payload: Uint8Array, reply?: string): void {
    if (!this.#connection.isClosed()) this.#connection.publish(subject, payload, reply === undefined ? {} : { reply });
  }

  /** Throws LOG_UNAVAILABLE when the link is lost. */
  subscribe(subject: string, each: (message: Msg) => void): Subscription {
    if (this.#connection.isClosed()) throw new LogError('LOG_UNAVAILABLE', 'The connection was lost.');
    return this.#connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) return this.#options.warn('The NATS server refused a subscription', { subject, reason: error.message });
        this.#guarded(() => each(message));
      },
    });
  }

  /** Resolves when the server has everything that was published and subscribed before. */
  roundTrip(): Promise<void> {
    return new Promise((resolve, reject) => {
      // nats-core leaves a flush pending for good when the connection is lost.
      const lost = (reason: string) => reject(new LogError('LOG_UNAVAILABLE', `The connection was lost: ${reason}.`));
      if (this.#isEnded) return lost('it had ended');
      this.#losers.add(lost);
      this.#connection.flush().then(resolve, () => lost('it is closing')).finally(() => this.#losers.delete(lost));
    });
  }

  async close(): Promise<void> {
    if (this.#isEnded) return;
    // What was written goes out; nothing more is waited for.
    await Promise.race([this.#connection.flush().catch(() => undefined), new Promise((resolve) => setTimeout(resolve, TURN_MS).unref())]);
    this.#end('the log was closed');
    await this.#connection.close().catch(() => undefined);
  }

  #answer(error: Error | null, message: Msg): void {
    if (error !== null) return this.#options.warn('The NATS server refused the reply inbox', { reason: error.message });
    const token = Number.parseInt(message.subject.slice(this.#inbox.length), 36);
    const waiting = this.#waiting.get(token);
    if (waiting === undefined) return;
    this.#waiting.delete(token);
    this.#guarded(() => waiting.answered(message));
  }

  /** Thrown further, it would end nats-core's reader for good. */
  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#options.warn('Reading an answer of NATS failed', { error });
    }
  }

  #expire(): void {
    this.#turn += 1;
    for (const [token, awaiting] of this.#waiting) {
      if (awaiting.dueTurn > this.#turn) continue;
      this.#waiting.delete(token);
      this.#guarded(() => awaiting.answered(undefined, 'it did not answer in time'));
    }
  }

  #beat(): void {
    if (this.#pinging) {
      this.#unanswered += 1;
      if (this.#unanswered >= UNANSWERED_MAX) this.#end('the server does not answer');
      return;
    }
    this.#pinging = true;
    this.roundTrip().then(
      () => {
        this.#pinging = false;
        this.#unanswered = 0;
      },
      () => undefined,
    );
  }

  async #watchStatus(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type === 'error') this.#options.warn('The NATS server reported an error', { reason: status.error.message });
      if (status.type === 'slowConsumer') this.#options.warn('This process reads too slowly from NATS', { pending: status.pending });
    }
  }

  #end(reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#connection.close().catch(() => undefined);
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const lost of [...this.#losers]) this.#guarded(() => lost(reason));
    this.#losers.clear();
    for (const awaiting of waiting) this.#guarded(() => awaiting.answered(undefined, `the connection was lost, ${reason}`));
    this.#resolveEnded(reason);
  }
}

/** NATS says at once that nobody listens to a subject. */
export function isNobody(message: Msg): boolean {
  return message.data.length === 0 && message.headers?.code === NO_RESPONDERS;
}
