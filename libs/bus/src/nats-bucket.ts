import { setTimeout as sleep } from 'node:timers/promises';

import { jetstream, JetStreamApiError, StorageType } from '@nats-io/jetstream';
import { Kvm, type KV } from '@nats-io/kv';
import { errors } from '@nats-io/transport-node';

import { BusError, type BusLog } from './bus.ts';
import type { NatsLink } from './nats-link.ts';

/** How long one request to JetStream may take; what is asked again anyway. */
export const JETSTREAM_TIMEOUT_MS = 2_000;
const BACKOFF_FIRST_MS = 100;
const BACKOFF_CAP_MS = 2_000;

// Errors of JetStream's API that pass: no suitable peers (yet), no leader, not the leader, a bucket that another process made with
// other options in between, one that was deleted in between.
const PASSING_CODES: ReadonlySet<number> = new Set([10005, 10008, 10009, 10058, 10059]);

export interface NatsBucketOptions {
  readonly name: string;
  readonly replicas: number;
  readonly log: BusLog;
}

/** A bucket that is there, on a link. */
export interface OpenBucket {
  readonly link: NatsLink;
  readonly kv: KV;
}

/** Sees to it that a bucket is there, on whatever link there is, when somebody needs it. */
export class NatsBucket {
  readonly #options: NatsBucketOptions;
  readonly #closing = new AbortController();
  readonly #arrivals = new Set<() => void>();
  #link: NatsLink | undefined;
  #open: OpenBucket | undefined;
  #opening: Promise<OpenBucket> | undefined;

  constructor(options: NatsBucketOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  /** The stream in which a bucket is kept. */
  get stream(): string {
    return `KV_${this.name}`;
  }

  subjectOf(keyOrFilter: string): string {
    return `$KV.${this.name}.${keyOrFilter}`;
  }

  keyOf(subject: string): string {
    return subject.slice(this.subjectOf('').length);
  }

  /** The bucket, if it is known to be there now. */
  get open(): OpenBucket | undefined {
    return this.#open?.link.up === true ? this.#open : undefined;
  }

  /** Resolves when the bucket is there, however long the bus is away; rejects with `BUS_KV_REFUSED` or `BUS_CLOSED`. */
  ready(): Promise<OpenBucket> {
    const { open } = this;
    if (open !== undefined) return Promise.resolve(open);
    return (this.#opening ??= this.#make().finally(() => (this.#opening = undefined)));
  }

  /** It was found not to be there after all: `ready` looks again. */
  forget(open: OpenBucket): void {
    if (this.#open === open) this.#open = undefined;
  }

  attach(link: NatsLink): void {
    this.#link = link;
    for (const arrived of [...this.#arrivals]) arrived();
  }

  close(): void {
    this.#closing.abort();
    for (const arrived of [...this.#arrivals]) arrived();
  }

  async #make(): Promise<OpenBucket> {
    const { log, name, replicas } = this.#options;
    const { signal } = this.#closing;
    let lastReason: string | undefined;
    for (let attempt = 0; ; attempt += 1) {
      const link = await this.#nextLink();
      const hasJetStream = link.connection.info?.jetstream === true;
      try {
        const kvm = new Kvm(jetstream(link.connection, { timeout: JETSTREAM_TIMEOUT_MS }));
        // Direct reads may be answered by a server that has not got the latest put yet.
        const kv = await link.whileUp(kvm.create(name, { history: 1, storage: StorageType.File, replicas, allow_direct: false }));
        return (this.#open = { link, kv });
      } catch (error) {
        const refusal = refusalOf(error, hasJetStream);
        if (refusal !== undefined) throw refusal;
        const reason = error instanceof Error ? error.message : String(error);
        log({ level: reason === lastReason || !link.up ? 'debug' : 'warn', text: 'A bucket of key-values is not to be had yet', fields: { bucket: name, reason } });
        lastReason = reason;
      }
      await sleep(Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10)), undefined, { signal }).catch(() => undefined);
    }
  }

  async #nextLink(): Promise<NatsLink> {
    while (!this.#closing.signal.aborted) {
      if (this.#link?.up === true) return this.#link;
      await new Promise<void>((resolve) => {
        const arrived = () => {
          this.#arrivals.delete(arrived);
          resolve();
        };
        this.#arrivals.add(arrived);
      });
    }
    throw new BusError('BUS_CLOSED', 'The bus was closed.');
  }
}

/** What to tell the caller if trying again does not help. `hasJetStream`: the server says that it has, so that silence will pass. */
export function refusalOf(error: unknown, hasJetStream: boolean): BusError | undefined {
  if (!(error instanceof Error)) return undefined;
  const cause = error.cause instanceof Error ? error.cause : error;
  if (cause instanceof errors.PermissionViolationError) {
    return new BusError('BUS_KV_REFUSED', `The NATS server lets this user not use key-values; allow $JS.API.> and $KV.> to it: ${cause.message}`, { cause: error });
  }
  // By name: the package does not export the class.
  if (error.name === 'JetStreamNotEnabled') {
    if (!(cause instanceof JetStreamApiError) && hasJetStream) return undefined;
    return new BusError('BUS_KV_REFUSED', 'The NATS server has no JetStream, in which key-values are kept: turn it on (`jetstream` in its configuration, or for the account).', { cause: error });
  }
  if (!(error instanceof JetStreamApiError) || PASSING_CODES.has(error.code)) return undefined;
  return new BusError('BUS_KV_REFUSED', `The NATS server refuses it: ${error.message} (JetStream error ${error.code}).`, { cause: error });
}
