import { LogError, type ConsumerSpec, type DeadDelivery, type EventLog, type LogConsumer } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import type { ErrorCode, Since } from '@carillon/wire';

import { ConsumerBurials } from './consumer-burials.ts';
import type { ConsumerSettings } from './consumer-settings.ts';
import type { HubCounts } from '../counts.ts';
import { startOf } from '../durable/event-reader.ts';
import { generationOf, isReturnedOf, returnedName, returnedSpec } from './returned-consumer.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';
import type { Trail } from '../trail/trail.ts';

/** The durable consumers of one workspace, as this hub takes part in them. Members at other hubs compete through the log. */
export interface ConsumersOptions {
  readonly workspaceId: string;
  readonly log: EventLog;
  readonly counts: HubCounts;
  readonly trail: Trail;
  readonly logger: Logger;
}

/** A member's part in a consumer: of its rooms, and of what comes again to it alone. */
export interface Membership {
  readonly spec: ConsumerSpec;
  readonly own: LogConsumer;
  readonly returned: LogConsumer;
}

export interface JoinRequest {
  readonly name: string;
  readonly rooms: readonly string[];
  readonly since: Since | undefined;
  readonly settings: ConsumerSettings;
}

export type Joined = { readonly ok: true; readonly membership: Membership } | { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

/** Of one workspace. */
export const CONSUMERS_MAX = 1_000;

export interface KnownConsumers {
  readonly own: ReadonlyMap<string, ConsumerSpec>;
  /** By the name of the consumer beside which they stand, hashed. */
  readonly returned: ReadonlyMap<string, ConsumerSpec>;
}

const NOBODY: ReadonlySet<Membership> = new Set();

export class Consumers {
  readonly parts: ConsumersOptions;
  readonly burials: ConsumerBurials;
  readonly #members = new Map<string, Set<Membership>>();
  readonly #leaving = new Set<Promise<unknown>>();
  readonly #recheck = new Set<() => void>();
  #listing: Promise<KnownConsumers> | undefined;

  constructor(parts: ConsumersOptions) {
    this.parts = parts;
    this.burials = new ConsumerBurials(parts);
  }

  /** Joins a consumer, which is made when it is not there. Rejects with the log's error, e.g. CONSUMER_EXISTS. */
  async join({ name, rooms, since, settings }: JoinRequest): Promise<Joined> {
    const { log, workspaceId, counts } = this.parts;
    let known = await this.list();
    let from: ConsumerSpec['from'] = 'now';
    if (!known.own.has(name)) {
      if (known.own.size >= CONSUMERS_MAX) return { ok: false, code: 'CONSUMERS_EXCEEDED', detail: `at most ${CONSUMERS_MAX} in a workspace` };
      const start = since === undefined ? undefined : await startOf(since, { log, workspaceId, rooms });
      if (start?.ok === false) return start;
      if (start !== undefined) from = { seq: start.after };
      // Left from a deletion that was not finished.
      if (known.returned.has(returnedName(workspaceId, name))) {
        await log.deleteConsumer(SYSTEM_WORKSPACES.returned, returnedName(workspaceId, name)).catch(unlessUnknown);
        known = await this.read();
      }
    }
    const { ackTimeoutMs, maxDeliveries, maxInFlight } = settings;
    const membership = await this.#enter({ workspaceId, name, rooms, from, ackTimeoutMs, maxDeliveries, maxInFlight }, known);
    const members = this.#members.get(name) ?? new Set();
    this.#members.set(name, members.add(membership));
    counts.consumers.members += 1;
    return { ok: true, membership };
  }

  /** What it has not settled is due again at once. */
  leave(membership: Membership): void {
    const { name } = membership.spec;
    const members = this.#members.get(name);
    if (members?.delete(membership) !== true) return;
    this.parts.counts.consumers.members -= 1;
    if (members.size === 0) this.#members.delete(name);
    this.#let(membership);
  }

  /** Hears that the rights of somebody have changed, until it is called off. */
  onRights(recheck: () => void): () => void {
    this.#recheck.add(recheck);
    return () => void this.#recheck.delete(recheck);
  }

  /** The rights of somebody have changed. */
  recheck(): void {
    for (const recheck of [...this.#recheck]) recheck();
  }

  /** Resolves when all who left are out. */
  async left(): Promise<void> {
    await Promise.all(this.#leaving);
  }

  /** Of this hub. */
  members(name: string): ReadonlySet<Membership> {
    return this.#members.get(name) ?? NOBODY;
  }

  /** All consumers of the workspace, by name. */
  async specs(): Promise<readonly ConsumerSpec[]> {
    const { own } = await this.list();
    return [...own.values()].sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  /** Rejects CONSUMER_UNKNOWN. Its members are told; its dead letters stay. */
  async delete(name: string): Promise<void> {
    const { log, workspaceId } = this.parts;
    // A consumer without its other half gets one with its next member; a half without its consumer would have the settings of nobody.
    await log.deleteConsumer(SYSTEM_WORKSPACES.returned, returnedName(workspaceId, name)).catch(unlessUnknown);
    await log.deleteConsumer(workspaceId, name);
    this.burials.forget(name);
  }

  #let({ own, returned }: { readonly own: LogConsumer; readonly returned?: LogConsumer }): void {
    const { logger } = this.parts;
    const leaving = Promise.all([own.close(), returned?.close()]).catch((error: unknown) => logger.warn({ error, consumer: own.spec.name }, 'a member of a consumer left and could not say so; what it had is due again when its time is over'));
    this.#leaving.add(leaving);
    void leaving.finally(() => this.#leaving.delete(leaving));
  }

  async #enter(spec: ConsumerSpec, known: KnownConsumers): Promise<Membership> {
    const { log, workspaceId } = this.parts;
    const name = returnedName(workspaceId, spec.name);
    const stored = known.returned.get(name);
    // The log may have something to give up before it is known which generation this is.
    let generation: (value: number) => void = () => undefined;
    let unknown: (error: unknown) => void = () => undefined;
    const generations = new Promise<number>((resolve, reject) => ([generation, unknown] = [resolve, reject]));
    generations.catch(() => undefined);
    const own = await log.consumer(spec, async (dead) => this.burials.bury(spec.name, await generations, dead));
    try {
      const from = stored === undefined ? (await log.bounds()).head : generationOf(stored);
      const returned = await this.#enterReturned(returnedSpec(spec, from), async (dead) => this.burials.bury(spec.name, await generations, dead));
      // Another hub may have been first.
      generation(stored === undefined ? generationOf((await this.read()).returned.get(name) ?? returned.spec) : from);
      return { spec, own, returned };
    } catch (error) {
      unknown(error);
      this.#let({ own });
      throw error;
    }
  }

  /** The settings of its consumer are the ones: one with others is left from a deletion that was not finished. */
  async #enterReturned(spec: ConsumerSpec, dead: (dead: DeadDelivery) => Promise<void>): Promise<LogConsumer> {
    const { log } = this.parts;
    try {
      return await log.consumer(spec, dead);
    } catch (error) {
      if (!(error instanceof LogError) || error.code !== 'CONSUMER_EXISTS') throw error;
      await log.deleteConsumer(spec.workspaceId, spec.name).catch(unlessUnknown);
      return log.consumer(spec, dead);
    }
  }

  /** All consumers of the workspace, and what stands beside them. Those who ask at once share one listing: it is long where there are many. */
  list(): Promise<KnownConsumers> {
    this.#listing ??= this.read().finally(() => (this.#listing = undefined));
    return this.#listing;
  }

  /** The same, of no earlier than now. */
  async read(): Promise<KnownConsumers> {
    const { log, workspaceId } = this.parts;
    // A consumer is made before what stands beside it, and deleted after it: in this order the one is never seen without the other unless it is alone.
    const returned = await log.consumers(SYSTEM_WORKSPACES.returned);
    const own = await log.consumers(workspaceId);
    return { own: byName(own), returned: byName(returned.filter((spec) => isReturnedOf(spec, workspaceId))) };
  }
}

const byName = (specs: readonly ConsumerSpec[]): ReadonlyMap<string, ConsumerSpec> => new Map(specs.map((spec) => [spec.name, spec]));

/** Lets pass that there was no such consumer. */
export function unlessUnknown(error: unknown): void {
  if (!(error instanceof LogError) || error.code !== 'CONSUMER_UNKNOWN') throw error;
}
