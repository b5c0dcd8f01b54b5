import { CarillonError, type ControlFrame } from '@carillon/wire';
import type { Settle } from './abort.ts';
import type { ReceivedEvent } from './received-event.ts';

export type AskFrame = Extract<ControlFrame, { readonly op: 'consume' | 'enter' | 'watch' }>;
export type AnswerFrame = Extract<ControlFrame, { readonly op: 'consuming' | 'settled' | 'entered' | 'presence' }>;

/** What a standing request is about: a place among a consumer's members, in a room, or at its door. */
export interface StandingRole {
  /** Whether something was said that the hub is to answer. */
  readonly isSettling?: boolean;
  /** What to ask the hub under this name. */
  ask(request: string): AskFrame;
  /** What else is to be said under it now. */
  says?(request: string): readonly ControlFrame[];
  /** The hub said something; the first thing means that it has taken the request. */
  hear?(frame: AnswerFrame): void;
  /** An event that came under its name; `attempt` counts deliveries. */
  event?(event: ReceivedEvent, attempt: number): void;
  /** The hub refused something while the request was in force; false: it was the request itself. */
  refused?(error: CarillonError): boolean;
  /** The connection is gone. */
  lost?(): void;
  /** It is over; comes once. `error` when the hub wanted it so. */
  ended(error: CarillonError | undefined): void;
}

/**
 * Something that is asked for on every connection until it ends (SPEC.md, "A standing request"):
 *
 *   away ──asked──▶ asked ──taken──▶ in force        any ──connection lost, refused for now──▶ away
 *                                                    any ──refused, closed──▶ ended
 */
export class StandingRequest {
  readonly role: StandingRole;
  /** What it goes by on the connection of the moment, once asked. */
  name: string | undefined;
  #state: 'away' | 'asked' | 'in force' | 'ended' = 'away';
  #why: CarillonError | undefined;
  #waiting: Settle<void>[] = [];
  readonly #onClose: (request: StandingRequest) => void;

  /** `onClose` takes it from the hub, when its caller closes it. */
  constructor(role: StandingRole, onClose: (request: StandingRequest) => void) {
    this.role = role;
    this.#onClose = onClose;
  }

  get isInForce(): boolean {
    return this.#state === 'in force';
  }

  get isEnded(): boolean {
    return this.#state === 'ended';
  }

  /** Resolves when it is in force, now or the next time; rejects when it is over. */
  ready(): Promise<void> {
    if (this.#state === 'in force') return Promise.resolve();
    if (this.#why !== undefined) return Promise.reject(this.#why);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Its caller wants it no longer. Idempotent. */
  close(): void {
    if (this.isEnded) return;
    this.#onClose(this);
    this.end(new CarillonError('ABORTED', 'it was closed'), undefined);
  }

  asked(name: string): void {
    this.name = name;
    this.#state = 'asked';
  }

  /** The hub has it. */
  hear(frame: AnswerFrame): void {
    this.#state = 'in force';
    this.role.hear?.(frame);
    for (const { resolve } of this.#takeWaiting()) resolve();
  }

  /** The hub has it no longer, and will be asked again. */
  lost(): void {
    this.name = undefined;
    this.#state = 'away';
    this.role.lost?.();
  }

  /** `why` is for those who wait, `error` for its reader: none when nobody but this side ended it. */
  end(why: CarillonError, error: CarillonError | undefined): void {
    if (this.isEnded) return;
    this.lost();
    this.#state = 'ended';
    this.#why = why;
    for (const { reject } of this.#takeWaiting()) reject(why);
    this.role.ended(error);
  }

  #takeWaiting(): readonly Settle<void>[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }
}
