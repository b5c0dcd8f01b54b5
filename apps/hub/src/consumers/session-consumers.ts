import type { Logger } from '@carillon/runtime';
import type { Connection } from '@carillon/session';
import type { ErrorCode } from '@carillon/wire';

import { readSettings, type ConsumeRequest } from './consumer-settings.ts';
import type { Consumers } from './consumers.ts';
import type { HubCounts } from '../counts.ts';
import type { DelayedEvents } from '../delayed/delayed-events.ts';
import type { DurableLane } from '../durable/durable-lane.ts';
import type { Identified } from '../access/identity.ts';
import type { SessionRequest } from '../sessions/messenger-session.ts';
import type { PageTurns } from '../durable/page-turns.ts';
import { SessionConsumer } from './session-consumer.ts';
import type { Trail } from '../trail/trail.ts';

/** The consumers in which one session shares. */
export interface SessionConsumersParts {
  readonly consumers: Consumers | undefined;
  readonly durable: DurableLane | undefined;
  readonly delayed: Pick<DelayedEvents, 'add'> | undefined;
  readonly connection: Connection;
  readonly peer: Identified;
  readonly turns: PageTurns;
  readonly counts: HubCounts;
  readonly trail: Trail;
  readonly log: Logger;
  /** The peer is told of a refusal that its request survives. */
  readonly tell: (request: string, code: ErrorCode, detail: string) => void;
  /** A request has ended by itself. */
  readonly over: (request: string, code: ErrorCode, detail: string) => void;
}

export type OpenedConsumer = { readonly ok: true; readonly request: SessionRequest } | { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

/** Of one connection. */
const CONSUMERS_MAX = 64;

export class SessionConsumers {
  readonly #parts: SessionConsumersParts;
  #open = 0;

  constructor(parts: SessionConsumersParts) {
    this.#parts = parts;
  }

  /** Codes: LOG_ABSENT, CONSUMER_INVALID, RECEIVE_DENIED, CONSUMERS_EXCEEDED; later those of `Consumers.join`, SINCE_INVALID, CONSUMER_UNKNOWN. */
  open(asked: ConsumeRequest, session: () => string): OpenedConsumer {
    const { consumers, delayed, durable, over, peer, tell } = this.#parts;
    if (consumers === undefined || durable === undefined || delayed === undefined) return { ok: false, code: 'LOG_ABSENT', detail: '' };
    const read = readSettings(asked);
    if (!read.ok) return read;
    const denied = asked.rooms.find((pattern) => !peer.principal.permissions.covers('receive', pattern));
    if (denied !== undefined) return { ok: false, code: 'RECEIVE_DENIED', detail: denied };
    if (this.#open >= CONSUMERS_MAX) return { ok: false, code: 'CONSUMERS_EXCEEDED', detail: `at most ${CONSUMERS_MAX} a connection` };
    const { request } = asked;
    const consumer = new SessionConsumer(asked, read.settings, {
      ...this.#parts, consumers, delayed, durable, session,
      tell: (code, detail) => tell(request, code, detail),
      over: (code, detail) => over(request, code, detail),
    });
    consumer.start();
    return { ok: true, request: this.#counted(consumer, consumers) };
  }

  #counted(consumer: SessionConsumer, consumers: Consumers): SessionRequest {
    this.#open += 1;
    const forget = consumers.onRights(() => consumer.recheck());
    let isOver = false;
    return {
      recheck: () => consumer.recheck(),
      settle: (frame) => consumer.settle(frame),
      end: () => {
        if (isOver) return;
        isOver = true;
        this.#open -= 1;
        forget();
        consumer.end();
      },
    };
  }
}
