import { AckPolicy, DeliverPolicy, JsHeaders, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { createInbox, Empty, nanos, nuid, type Msg, type Subscription } from '@nats-io/transport-node';

import type { BusLog } from './bus.ts';
import type { KvWatchOptions } from './key-values.ts';
import { JETSTREAM_TIMEOUT_MS, type NatsBucket } from './nats-bucket.ts';
import type { NatsLink } from './nats-link.ts';

/*
 * An ephemeral push consumer from its making to its loss. It is never repaired: after any doubt (silence, a gap, an error) the watch
 * makes another one and begins anew.
 *
 *   keys listed ─▶ subscribed ─▶ consumer made ─▶ entries … synced … changes ─▶ lost
 *
 * The keys that are there are listed first, and `synced` is called when each of them has been given: an entry that is overwritten
 * before its turn comes later, among the changes, however fast they follow each other, and counts then.
 */

// The server tells so often that there is nothing to tell; after three of these in silence, counted in turns of the timer, the
// consumer is given up: 3 to 4 s.
const IDLE_HEARTBEAT_MS = 1_000;
const SILENT_MAX = 3;
// How long the server keeps a consumer that nobody listens to, should it not be told that it has ended.
const INACTIVE_MS = 5_000;
const STATUS_CONTROL = 100;
const OPERATION_HEADER = 'KV-Operation';

export interface NatsKvConsumerOptions extends Required<KvWatchOptions> {
  readonly bucket: NatsBucket;
  readonly log: BusLog;
}

/** Gives entries, `synced` and changes from the moment it is made until it is lost or ended. */
export class NatsKvConsumer {
  /** Rejects with the reason when it can no longer be relied on, and when it is ended. */
  readonly lost: Promise<never>;
  readonly #link: NatsLink;
  readonly #options: NatsKvConsumerOptions;
  readonly #name = `carillon_${nuid.next()}`;
  /** Keys that were there and have not been given; undefined before they are known and after the last. */
  #awaited: Set<string> | undefined;
  #manager: JetStreamManager | undefined;
  #subscription: Subscription | undefined;
  #monitor: NodeJS.Timeout | undefined;
  #lastDelivered = 0;
  #silentTurns = 0;
  #isEnded = false;
  #lose!: (error: Error) => void;

  constructor(link: NatsLink, options: NatsKvConsumerOptions) {
    this.#link = link;
    this.#options = options;
    this.lost = new Promise((_, reject) => (this.#lose = reject));
    this.#begin().catch((error: unknown) => this.#lose(error instanceof Error ? error : new Error(String(error))));
  }

  /** Gives nothing from now on; what tells the server has been written when this returns. Resolves when it knows or does not answer. */
  async end(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#lose(new Error('it was ended'));
    clearInterval(this.#monitor);
    this.#awaited = undefined;
    if (this.#subscription === undefined || !this.#link.up) return;
    this.#subscription.unsubscribe();
    await this.#link.whileUp(this.#manager?.consumers.delete(this.#options.bucket.stream, this.#name) ?? Promise.resolve(false)).catch(() => undefined);
  }

  async #begin(): Promise<void> {
    const { bucket, filter } = this.#options;
    const { connection } = this.#link;
    const filterSubject = bucket.subjectOf(filter);
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: JETSTREAM_TIMEOUT_MS });
    const { state } = await manager.streams.info(bucket.stream, { subjects_filter: filterSubject });
    if (this.#isEnded) return;
    this.#manager = manager;
    this.#awaited = new Set(Object.keys(state.subjects ?? {}).map((subject) => bucket.keyOf(subject)));
    const deliverSubject = createInbox();
    this.#subscription = connection.subscribe(deliverSubject, {
      callback: (error, message) => {
        if (this.#isEnded) return;
        if (error !== null) return this.#lose(error);
        this.#silentTurns = 0;
        try {
          if (message.headers !== undefined && message.headers.code !== 0) this.#control(message);
          else this.#take(message);
        } catch (thrown) {
          // Thrown further, it would end nats-core's reader for good.
          this.#lose(thrown instanceof Error ? thrown : new Error(String(thrown)));
        }
      },
    });
    await manager.consumers.add(bucket.stream, {
      name: this.#name,
      deliver_subject: deliverSubject,
      deliver_policy: DeliverPolicy.LastPerSubject,
      filter_subject: filterSubject,
      ack_policy: AckPolicy.None,
      flow_control: true,
      idle_heartbeat: nanos(IDLE_HEARTBEAT_MS),
      inactive_threshold: nanos(INACTIVE_MS),
      mem_storage: true,
      num_replicas: 1,
    });
    if (this.#isEnded) return;
    this.#monitor = setInterval(() => this.#listen(), IDLE_HEARTBEAT_MS);
    this.#given();
  }

  #take(message: Msg): void {
    const { bucket, entry } = this.#options;
    const place = placeOf(message.reply ?? '');
    if (place?.delivered !== this.#lastDelivered + 1) return this.#lose(new Error('an entry was lost on its way'));
    this.#lastDelivered = place.delivered;
    const key = bucket.keyOf(message.subject);
    // Somebody's tool may have deleted a key; that is no entry.
    if (message.headers?.has(OPERATION_HEADER) !== true) {
      // Copied: a few bytes would otherwise hold on to a whole read buffer.
      this.#call(() => entry({ key, value: new Uint8Array(message.data), revision: place.revision }));
    }
    this.#given(key);
  }

  /** Requests of the flow control, idle heartbeats, and the end. */
  #control(message: Msg): void {
    const { headers } = message;
    if (headers?.code !== STATUS_CONTROL) return this.#lose(new Error(`the server ended it: ${headers?.description ?? 'without a reason'}`));
    if (message.reply !== undefined && message.reply !== '') return void message.respond();
    const stalled = headers.get(JsHeaders.ConsumerStalledHdr);
    if (stalled !== '') return this.#link.connection.publish(stalled, Empty);
    if (Number(headers.get(JsHeaders.LastConsumerSeqHdr)) !== this.#lastDelivered) return this.#lose(new Error('an entry was lost on its way'));
    // There is nothing more: a key that was listed and not given has been purged since.
    this.#awaited?.clear();
    this.#given();
  }

  #given(key?: string): void {
    if (this.#awaited === undefined) return;
    if (key !== undefined) this.#awaited.delete(key);
    if (this.#awaited.size > 0 || this.#monitor === undefined) return;
    this.#awaited = undefined;
    this.#call(this.#options.synced);
  }

  #listen(): void {
    this.#silentTurns += 1;
    if (this.#silentTurns > SILENT_MAX) this.#lose(new Error('the consumer is silent'));
  }

  #call(listener: () => void): void {
    if (this.#isEnded) return;
    try {
      listener();
    } catch (error) {
      this.#options.log({ level: 'error', text: 'A watch of key-values threw', fields: { filter: this.#options.filter, error } });
    }
  }
}

/**
 * Where an entry stands in the stream and among the deliveries, as told in its reply subject:
 * `$JS.ACK.<stream>.<consumer>.<tries>.<stream sequence>.<delivery sequence>.<time>.<pending>`, since 2.11 perhaps with
 * `<domain>.<account>` before the stream and more at the end.
 */
function placeOf(reply: string): { readonly revision: number; readonly delivered: number } | undefined {
  const tokens = reply.split('.');
  const first = tokens.length === 9 ? 5 : 7;
  const [revision, delivered] = [Number(tokens[first]), Number(tokens[first + 1])];
  return reply.startsWith('$JS.ACK.') && Number.isInteger(revision) && Number.isInteger(delivered) ? { revision, delivered } : undefined;
}
