import { setTimeout as sleep } from 'node:timers/promises';

import type { NatsConnection } from '@nats-io/transport-node';

import { BusError, requireSubject, type Bus, type BusLog, type BusSubscription, type FlushOptions, type PublishOutcome, type SubscribeOptions } from './bus.ts';
import { requireBucket, type KeyValues, type KeyValuesOptions } from './key-values.ts';
import { dial, type NatsCredentials } from './nats-dial.ts';
import { NatsKeyValues } from './nats-key-values.ts';
import { NatsLink, type LinkSubscription } from './nats-link.ts';
import { isParted } from './nats-parting.ts';
import { missingFrom } from './nats-version.ts';
import { ObservedState } from './observed-state.ts';

/*
 *              dialled             lost                dialled
 * connecting ──────────▶ connected ──────────▶ away ──────────▶ connected …        any ──close()──▶ closed
 *
 * One loop dials, waits for the loss of the link, backs off and dials again. Subscriptions belong to the bus and are made anew
 * on each link, before the state says `connected`.
 */

const OUTBOUND_MAX_BYTES = 64 * 1024 * 1024;
// Full jitter, also at the cap, so that processes that lost a server together do not come back together.
const BACKOFF_FIRST_MS = 200;
const BACKOFF_CAP_MS = 5_000;
// A server that takes connections and drops them is not healed by dialling at full speed.
const STABLE_AFTER_MS = 10_000;
// NATS servers' own default, told until a server tells its own.
const PAYLOAD_MAX_BYTES = 1024 * 1024;

export interface ConnectNatsOptions extends NatsCredentials {
  /** `nats://host:port`; the others of their clusters are learnt. */
  readonly servers: readonly string[];
  /** What the server's monitoring shows. */
  readonly name: string;
  readonly log?: BusLog;
  /** Bytes that may be published and not yet known to have reached the server before `backlogged`; 64 MiB by default. */
  readonly outboundMaxBytes?: number;
  /** Closes the bus when aborted. */
  readonly signal?: AbortSignal;
}

/** Gives a bus at once, in state `connecting`; it connects, and reconnects, for as long as it is not closed. */
export function connectNats(options: ConnectNatsOptions): Bus {
  const bus = new NatsBus(options);
  const { signal, log } = options;
  const close = () => {
    bus.close().catch((error: unknown) => log?.({ level: 'error', text: 'Closing the bus failed', fields: { error } }));
  };
  if (signal?.aborted === true) close();
  else signal?.addEventListener('abort', close, { once: true });
  bus.onState((state) => {
    if (state === 'closed') signal?.removeEventListener('abort', close);
  });
  return bus;
}

class NatsBus implements Bus {
  readonly #options: ConnectNatsOptions;
  readonly #log: BusLog;
  readonly #outboundMaxBytes: number;
  readonly #state: ObservedState;
  readonly #subscriptions = new Map<LinkSubscription, (error: BusError) => void>();
  readonly #keyValues = new Map<string, NatsKeyValues>();
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #link: NatsLink | undefined;
  #closed: Promise<void> | undefined;
  #payloadMaxBytes = PAYLOAD_MAX_BYTES;
  #peers: readonly string[] = [];
  /** It was parted from the others when it was left. */
  #parted: string | undefined;

  constructor(options: ConnectNatsOptions) {
    this.#options = options;
    this.#log = options.log ?? (() => undefined);
    this.#outboundMaxBytes = options.outboundMaxBytes ?? OUTBOUND_MAX_BYTES;
    this.#state = new ObservedState('connecting', this.#log);
    this.#running = this.#run();
  }

  get state() {
    return this.#state.current;
  }

  get payloadMaxBytes() {
    return this.#payloadMaxBytes;
  }

  publish(subject: string, payload: Uint8Array): PublishOutcome {
    requireSubject(subject);
    return this.#link === undefined ? 'away' : this.#link.publish(subject, payload);
  }

  subscribe(subject: string, { queue, deliver }: SubscribeOptions): BusSubscription {
    requireSubject(subject);
    if (queue !== undefined) requireSubject(queue);
    if (this.#state.current === 'closed') throw new BusError('BUS_CLOSED', 'The bus is closed.');
    let confirmed!: () => void;
    let refused!: (error: BusError) => void;
    const active = new Promise<void>((resolve, reject) => {
      confirmed = resolve;
      refused = reject;
    });
    active.catch(() => undefined);
    const subscription: LinkSubscription = { subject, deliver, confirmed, refused, ...(queue === undefined ? {} : { queue }) };
    this.#subscriptions.set(subscription, refused);
    this.#link?.attach(subscription);
    let ending: Promise<void> | undefined;
    const end = async () => {
      this.#subscriptions.delete(subscription);
      refused(new BusError('BUS_CLOSED', 'The subscription was ended.'));
      await this.#link?.detach(subscription);
    };
    return { subject, active, unsubscribe: () => (ending ??= end()) };
  }

  onState(listener: Parameters<Bus['onState']>[0]): () => void {
    return this.#state.listen(listener);
  }

  keyValues(bucket: string, { replicas = 1 }: KeyValuesOptions = {}): KeyValues {
    requireBucket(bucket);
    if (this.#state.current === 'closed') throw new BusError('BUS_CLOSED', 'The bus is closed.');
    const known = this.#keyValues.get(bucket);
    if (known !== undefined) return known;
    const opened = new NatsKeyValues({ bucket, replicas, outboundMaxBytes: this.#outboundMaxBytes, payloadMaxBytes: () => this.#payloadMaxBytes, log: this.#log });
    this.#keyValues.set(bucket, opened);
    if (this.#link !== undefined) opened.attach(this.#link);
    return opened;
  }

  async flush({ timeoutMs }: FlushOptions = {}): Promise<void> {
    if (this.#state.current === 'closed') throw new BusError('BUS_CLOSED', 'The bus is closed.');
    if (this.#link === undefined) throw new BusError('BUS_AWAY', 'The bus is not connected.');
    await this.#link.roundTrip(timeoutMs);
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    const link = this.#link;
    this.#link = undefined;
    this.#state.enter('closed');
    for (const refused of this.#subscriptions.values()) refused(new BusError('BUS_CLOSED', 'The bus was closed.'));
    this.#subscriptions.clear();
    const ended = Promise.all([...this.#keyValues.values()].map((keyValues) => keyValues.close()));
    await link?.close();
    await ended;
    this.#closing.abort();
    await this.#running;
  }

  /** Those that are configured first, and one that was parted last of all. */
  get #known(): readonly string[] {
    const { servers } = this.#options;
    const peers = this.#link?.peers ?? this.#peers;
    const known = [...shuffled(servers), ...shuffled(peers.filter((peer) => !servers.some((server) => server.endsWith(peer))))];
    const isLeft = (server: string): boolean => this.#parted !== undefined && server.endsWith(this.#parted);
    return [...known.filter((server) => !isLeft(server)), ...known.filter(isLeft)];
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { servers, name } = this.#options;
    let attempt = 0;
    let lastReason: string | undefined;
    while (!signal.aborted) {
      try {
        const stableMs = await this.#serve(await dial(this.#known, { name, credentials: this.#options, signal }));
        if (stableMs > STABLE_AFTER_MS) attempt = 0;
        lastReason = undefined;
      } catch (error) {
        if (signal.aborted) return;
        const reason = error instanceof Error ? error.message : String(error);
        // Each reason once an outage: it may last for days.
        this.#log({ level: reason === lastReason ? 'debug' : 'warn', text: 'NATS is out of reach', fields: { servers, reason } });
        lastReason = reason;
      }
      const ceilingMs = Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10));
      attempt += 1;
      await sleep(Math.random() * ceilingMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Puts the connection in force and resolves when it has ended, with how long it lasted. */
  async #serve(connection: NatsConnection): Promise<number> {
    if (this.state === 'closed') {
      await connection.close();
      return 0;
    }
    const openedAtMs = performance.now();
    const fields = { server: connection.getServer(), version: connection.info?.version ?? '' };
    const link = new NatsLink(connection, {
      outboundMaxBytes: this.#outboundMaxBytes,
      log: this.#log,
      onLost: (reason) => {
        this.#link = undefined;
        this.#log({ level: 'warn', text: 'The connection to NATS was lost', fields: { ...fields, reason } });
        this.#state.enter('away');
      },
    });
    this.#link = link;
    this.#payloadMaxBytes = link.payloadMaxBytes;
    for (const subscription of this.#subscriptions.keys()) link.attach(subscription);
    for (const keyValues of this.#keyValues.values()) keyValues.attach(link);
    this.#log({ level: 'info', text: 'Connected to NATS', fields });
    const missing = missingFrom(fields.version);
    if (missing !== undefined) this.#log({ level: 'warn', text: missing, fields });
    this.#state.enter('connected');
    this.#parted = undefined;
    void this.#leaveWhenParted(link, fields.server);
    await link.ended;
    this.#peers = link.peers;
    return performance.now() - openedAtMs;
  }

  async #leaveWhenParted(link: NatsLink, server: string): Promise<void> {
    const { name } = this.#options;
    const { signal } = this.#closing;
    const stream = (): string | undefined => [...this.#keyValues.values()][0]?.stream;
    const others = (): readonly string[] => this.#known.filter((known) => !known.endsWith(server));
    if (!(await isParted(link, { stream, others, dial: (url) => dial([url], { name, credentials: this.#options, signal }) }))) return;
    this.#parted = server;
    link.giveUp('its server is parted from the others');
  }
}

const shuffled = (servers: readonly string[]): readonly string[] =>
  servers.map((server) => ({ server, key: Math.random() })).sort((left, right) => left.key - right.key).map(({ server }) => server);
