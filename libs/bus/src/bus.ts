import type { KeyValues, KeyValuesOptions } from './key-values.ts';

/** Where a bus stands: `away` is after a connection was lost, `closed` is for good. */
export type BusState = 'connecting' | 'connected' | 'away' | 'closed';

/**
 * What became of a publish. `sent`: handed over, at most once from here on. Any other: not handed over, and never will be;
 * `backlogged` means that as many bytes as may wait to be taken already do. The caller counts it.
 */
export type PublishOutcome = 'sent' | 'away' | 'too-large' | 'backlogged';

export interface BusDelivery {
  readonly subject: string;
  /** Not to be changed, and valid only during the call: copy what is kept (a few bytes may otherwise hold on to a whole read buffer). */
  readonly payload: Uint8Array;
}

export interface SubscribeOptions {
  /** Of all subscriptions with this name, over all handles, exactly one gets each event. */
  readonly queue?: string;
  /** Called in the order of publishing of each publisher. What it throws is logged and ends nothing. */
  readonly deliver: (delivery: BusDelivery) => void;
}

export interface BusSubscription {
  readonly subject: string;
  /** Resolves once the bus has confirmed that the subscription is in force; rejects if it is refused, or ended before. Need not be awaited. */
  readonly active: Promise<void>;
  /** Takes what was already routed to it, then resolves: no delivery comes after that. Idempotent. */
  unsubscribe(): Promise<void>;
}

export interface FlushOptions {
  /** How long the server may take to answer before `BUS_AWAY`, in milliseconds; the bus itself stays as it is. */
  readonly timeoutMs?: number;
}

/**
 * Fan-out between processes: at most once, in the order of each publisher, nothing stored; and key-values beside it, which are. Subjects are tokens joined by dots; a
 * subscription's may have `*` for one token and a final `>` for one or more. Nothing comes back to the handle that published it.
 */
export interface Bus {
  readonly state: BusState;
  /** The largest payload that `publish` takes, in bytes. */
  readonly payloadMaxBytes: number;
  /** Never waits, never throws for a well-formed subject, keeps nothing while away. The payload must not be changed afterwards. */
  publish(subject: string, payload: Uint8Array): PublishOutcome;
  /** Comes into force now, or as soon as the bus is connected, and again after each reconnection. Throws `BUS_CLOSED` once closed. */
  subscribe(subject: string, options: SubscribeOptions): BusSubscription;
  /** Calls `listener` at each change of state; gives a function that ends it. */
  onState(listener: (state: BusState) => void): () => void;
  /**
   * The bucket of that name (letters, digits, `_` and `-`), which is made at its first use where it does not exist. Does not wait. One
   * object a name; its first options hold. Throws `BUS_SUBJECT_INVALID` or, once closed, `BUS_CLOSED`.
   */
  keyValues(bucket: string, options?: KeyValuesOptions): KeyValues;
  /**
   * Resolves when everything published and subscribed before has reached the server; rejects with `BUS_AWAY` or `BUS_CLOSED` if that
   * cannot be known. Without `timeoutMs` a server that has fallen silent is waited for until it is given up, about six seconds.
   */
  flush(options?: FlushOptions): Promise<void>;
  /** Ends watches and pending puts, delivers what is under way, hands over what was sent, then ends; idempotent. Takes at most about five seconds. */
  close(): Promise<void>;
}

export interface BusLogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export type BusLog = (line: BusLogLine) => void;

export type BusErrorCode = 'BUS_AWAY' | 'BUS_CLOSED' | 'BUS_SUBJECT_INVALID' | 'BUS_SUBSCRIPTION_REFUSED' | 'BUS_KV_REFUSED';

/** Why the bus did not do what was asked; callers match the code. */
export class BusError extends Error {
  readonly code: BusErrorCode;

  constructor(code: BusErrorCode, text: string, options?: ErrorOptions) {
    super(text, options);
    this.name = 'BusError';
    this.code = code;
  }
}

/** Throws `BUS_SUBJECT_INVALID` for what would break the protocol's lines; what a subject means is the wire lib's matter. */
export function requireSubject(subject: string): void {
  if (subject === '' || /[ \t\r\n]/.test(subject)) throw new BusError('BUS_SUBJECT_INVALID', `A subject is not empty and has no white space: ${JSON.stringify(subject)}`);
}
