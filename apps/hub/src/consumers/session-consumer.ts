import type { PermissionSet } from '@carillon/access';
import { LogError, type Delivery } from '@carillon/log';
import type { Logger } from '@carillon/runtime';
import type { Connection } from '@carillon/session';
import { ERRORS, formatControl, type ErrorCode } from '@carillon/wire';

import { owedOf, type DeliverySource, type OwedDelivery } from './consumer-delivery.ts';
import { ConsumerPulls } from './consumer-pulls.ts';
import type { ConsumeRequest, ConsumerSettings } from './consumer-settings.ts';
import type { DeliveryOutcome } from './consumer-counts.ts';
import type { Consumers, Membership } from './consumers.ts';
import type { HubCounts } from '../counts.ts';
import type { DelayedEvents } from '../delayed/delayed-events.ts';
import { DeliveryWriter } from './delivery-writer.ts';
import { logErrorCode, type DurableLane } from '../durable/durable-lane.ts';
import { mayRead } from '../durable/event-reader.ts';
import type { Identified } from '../access/identity.ts';
import type { SessionRequest } from '../sessions/messenger-session.ts';
import type { PageTurns } from '../durable/page-turns.ts';
import { returnTo } from './returned-events.ts';
import { settleDelivery, type SettleFrame } from './settle-delivery.ts';
import type { Trail } from '../trail/trail.ts';
import { UnsettledDeliveries } from './unsettled-deliveries.ts';

/**
 * A session's part in a durable consumer:
 *
 *   joining ──▶ consuming ──unsubscribe, gone, denied, deleted──▶ ended
 *      └─────the log is away: tried again─────┘ (it stays a member)
 */
export interface SessionConsumerParts {
  readonly connection: Connection;
  readonly peer: Identified;
  /** The session's name. */
  readonly session: () => string;
  readonly durable: DurableLane;
  readonly consumers: Consumers;
  readonly delayed: Pick<DelayedEvents, 'add'>;
  readonly turns: PageTurns;
  readonly counts: HubCounts;
  readonly trail: Trail;
  readonly log: Logger;
  /** The peer is told of a refusal that its request survives. */
  readonly tell: (code: ErrorCode, detail: string) => void;
  /** The request is over: it is ended, and the peer told why. */
  readonly over: (code: ErrorCode, detail: string) => void;
}

/** How soon a log that is away is tried again. */
const RETRY_MS = 500;
/** What this member may not have is for others for so long. */
const DENIED_DELAY_MS = 1_000;
/** What a peer may have unsettled is in memory: of one member, and of all members of the hub together. One delivery each it always may. */
const MEMBER_MAX_BYTES = 16_777_216;
const MEMBERS_TOTAL_MAX_BYTES = 268_435_456;

export class SessionConsumer implements SessionRequest {
  readonly #request: ConsumeRequest;
  readonly #settings: ConsumerSettings;
  readonly #parts: SessionConsumerParts;
  readonly #unsettled: UnsettledDeliveries;
  readonly #writer: DeliveryWriter;
  #membership: Membership | undefined;
  #pulls: ConsumerPulls | undefined;
  #retry: NodeJS.Timeout | undefined;
  #covered: PermissionSet | undefined;
  #isEnded = false;

  constructor(request: ConsumeRequest, settings: ConsumerSettings, parts: SessionConsumerParts) {
    this.#request = request;
    this.#settings = settings;
    this.#parts = parts;
    const { connection, counts, durable } = parts;
    this.#unsettled = new UnsettledDeliveries({
      ackTimeoutMs: settings.ackTimeoutMs, now: () => performance.now(),
      timedOut: (delivery) => {
        this.#note(delivery, 'timed-out');
        this.#pulls?.poke();
      },
      holds: (bytes) => (counts.consumers.unsettledBytes += bytes),
    });
    this.#writer = new DeliveryWriter({ request: request.request, connection, durable, isDue: (delivery) => this.#unsettled.has(delivery), written: () => this.#pulls?.poke() });
  }

  start(): void {
    void this.#join().catch((error: unknown) => this.#failJoin(error));
  }

  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#retry);
    this.#pulls?.end();
    this.#writer.end();
    this.#unsettled.clear();
    if (this.#membership !== undefined) this.#parts.consumers.leave(this.#membership);
  }

  /** Its key covers the rooms no more: others get what it had. */
  recheck(): void {
    const denied = this.#deniedRoom();
    if (denied !== undefined && !this.#isEnded) this.#parts.over('RECEIVE_DENIED', denied);
  }

  settle(frame: SettleFrame): void {
    void this.#settle(frame).catch((error: unknown) => this.#parts.log.error({ error }, 'deliveries could not be settled'));
  }

  async #join(): Promise<void> {
    const { connection, consumers, turns } = this.#parts;
    const { request, name, rooms, since } = this.#request;
    const joined = await consumers.join({ name, rooms: [...new Set(rooms)], since, settings: this.#settings });
    if (!joined.ok) {
      if (!this.#isEnded) this.#parts.over(joined.code, joined.detail);
      return;
    }
    if (this.#isEnded) return consumers.leave(joined.membership);
    this.#membership = joined.membership;
    connection.sendControl(formatControl({ op: 'consuming', request }));
    this.#pulls = new ConsumerPulls({
      own: joined.membership.own, returned: joined.membership.returned,
      places: () => this.#settings.window - this.#unsettled.size, free: () => this.#free(),
      give: (source, deliveries) => this.#give(source, deliveries), extra: (source, delivery) => this.#setBack(source, delivery),
      turn: () => turns.next(), failed: (error) => this.#parts.over(logErrorCode(error), ''),
    });
    this.#pulls.poke();
  }

  #failJoin(error: unknown): void {
    const code = logErrorCode(error);
    if (this.#isEnded) return;
    if (!ERRORS[code].retryable || code === 'INTERNAL') {
      if (code === 'INTERNAL') this.#parts.log.error({ error, consumer: this.#request.name }, 'a consumer could not be joined');
      this.#parts.over(code, '');
    } else this.#retry = setTimeout(() => this.start(), RETRY_MS).unref();
  }

  /** Looked for once for each set of permissions. */
  #deniedRoom(): string | undefined {
    const { permissions } = this.#parts.peer.principal;
    if (permissions === this.#covered) return undefined;
    const denied = this.#request.rooms.find((pattern) => !permissions.covers('receive', pattern));
    if (denied === undefined) this.#covered = permissions;
    return denied;
  }

  /** How many deliveries may be asked for. */
  #free(): number {
    const { counts } = this.#parts;
    if (!this.#writer.isClear) {
      this.#writer.whenClear();
      return 0;
    }
    const isHeavy = this.#unsettled.bytes >= MEMBER_MAX_BYTES || counts.consumers.unsettledBytes >= MEMBERS_TOTAL_MAX_BYTES;
    return isHeavy && this.#unsettled.size > 0 ? 0 : isHeavy ? 1 : this.#settings.window - this.#unsettled.size;
  }

  #give(source: DeliverySource, deliveries: readonly Delivery[]): void {
    const denied = this.#deniedRoom();
    // Leaving gives it back, to others at once.
    if (denied !== undefined) return this.#parts.over('RECEIVE_DENIED', denied);
    const due = deliveries.flatMap((delivery) => this.#owed(source, delivery) ?? []);
    for (const delivery of due) {
      this.#unsettled.add(delivery);
      this.#note(delivery, 'delivered');
    }
    this.#writer.write(due);
  }

  /** What of a delivery the peer may have; undefined: nothing, and it is settled otherwise. */
  #owed(source: DeliverySource, delivery: Delivery): OwedDelivery | undefined {
    const { peer, log } = this.#parts;
    const { maxDeliveries } = this.#settings;
    const owed = owedOf(delivery, source, { consumer: this.#request.name, maxDeliveries });
    if (owed === undefined) {
      log.error({ consumer: this.#request.name, seq: delivery.event.seq }, 'an event that was returned to a consumer cannot be read');
      this.#inBackground(delivery.discard('it cannot be read'));
    } else if (owed.attempt > maxDeliveries) this.#inBackground(owed.discard(`not settled in ${maxDeliveries} attempts`));
    else if (mayRead(peer.principal, owed.event)) return owed;
    else {
      this.#note(owed, 'denied', 'RECEIVE_DENIED');
      this.#inBackground(owed.nack({ delayMs: DENIED_DELAY_MS, reason: 'RECEIVE_DENIED' }));
    }
    return undefined;
  }

  /** There was no place for it: it comes again, as if it had not come. */
  #setBack(source: DeliverySource, delivery: Delivery): void {
    if (this.#isEnded) return;
    const owed = owedOf(delivery, source, { consumer: this.#request.name, maxDeliveries: this.#settings.maxDeliveries });
    if (owed === undefined) return this.#inBackground(delivery.discard('it cannot be read'));
    this.#parts.counts.consumers.outcomes['set-back'] += 1;
    this.#inBackground(returnTo(this.#parts.durable.log, owed.again(), owed.againId()).then(() => owed.ack()));
  }

  async #settle(frame: SettleFrame): Promise<void> {
    const { connection } = this.#parts;
    const seqs = [...new Set(frame.seqs)];
    const outcomes = await Promise.all(seqs.map((seq) => this.#settleOne(seq, frame)));
    const of = (wanted: string): number[] => seqs.filter((_, index) => outcomes[index] === wanted);
    const [settled, unknown] = [of('settled'), of('unknown')];
    const failed = outcomes.find((outcome): outcome is { readonly code: ErrorCode; readonly detail: string } => typeof outcome === 'object');
    if (failed === undefined || settled.length + unknown.length > 0) connection.sendControl(formatControl({ op: 'settled', request: frame.request, seqs: settled, ...(unknown.length === 0 ? {} : { unknown }) }));
    if (failed?.code === 'CONSUMER_UNKNOWN' && !this.#isEnded) this.#parts.over(failed.code, '');
    else if (failed !== undefined) this.#parts.tell(failed.code, failed.detail);
    this.#pulls?.poke();
  }

  async #settleOne(seq: number, frame: SettleFrame): Promise<'settled' | 'unknown' | { readonly code: ErrorCode; readonly detail: string }> {
    const { consumers, counts, delayed, durable, log } = this.#parts;
    const delivery = this.#unsettled.begin(seq);
    if (delivery === undefined) {
      counts.consumers.unknown += 1;
      return 'unknown';
    }
    try {
      const outcome = await settleDelivery(delivery, frame, { log: durable.log, delayed });
      consumers.burials.requireBuried(this.#request.name, seq);
      this.#unsettled.done(delivery);
      this.#note(delivery, outcome, frame.op === 'ack' ? undefined : frame.reason);
      return 'settled';
    } catch (error) {
      if (error instanceof LogError && error.code === 'DELIVERY_UNKNOWN') {
        this.#unsettled.done(delivery);
        counts.consumers.unknown += 1;
        return 'unknown';
      }
      this.#unsettled.undo(delivery);
      const code = logErrorCode(error);
      if (code === 'INTERNAL') log.error({ error }, 'a delivery could not be settled');
      return { code, detail: `${seq} is not settled` };
    }
  }

  /** What fails is due again when its time is over. */
  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#parts.log.debug({ error, consumer: this.#request.name }, 'a delivery could not be settled; it is due again'));
  }

  #note({ event: { id, room }, attempt }: OwedDelivery, outcome: Exclude<DeliveryOutcome, 'set-back' | 'redriven'>, reason?: string): void {
    const { counts, peer, session, trail } = this.#parts;
    counts.consumers.outcomes[outcome] += 1;
    trail.note(peer.principal.workspaceId, { kind: 'attempt', id, room, consumer: this.#request.name, member: session(), attempt, outcome: outcome === 'denied' ? 'nacked' : outcome, reason });
  }
}
