import { CarillonError, DEFAULT_LIMITS, formatControl, type ControlFrame } from '@carillon/wire';
import type { Asking } from './asking.ts';
import { hubError } from './hub-error.ts';
import type { RoomSubscription } from './subscription.ts';

export type RequestFrame = Extract<ControlFrame, { readonly op: 'subscribed' | 'live' | 'behind' | 'gap' | 'error' }>;

const utf8 = new TextEncoder();

/**
 * Subscriptions in the second protocol: each is a request of its own, asked anew under a new name whenever it has to
 * begin somewhere else, so that what still comes under the old name is not mistaken for it. It asks before it drops, so
 * that no event of a live room falls between. Names begin with `_`: an error may also name an event by its id.
 */
export class Requests implements Asking {
  readonly #report: (error: Error) => void;
  readonly #all = new Set<RoomSubscription>();
  readonly #names = new Map<RoomSubscription, string>();
  readonly #byName = new Map<string, RoomSubscription>();
  readonly #toAsk = new Set<RoomSubscription>();
  #toDrop: string[] = [];
  #counter = 0;

  constructor(report: (error: Error) => void) {
    this.#report = report;
  }

  get isPending(): boolean {
    return this.#toAsk.size > 0 || this.#toDrop.length > 0;
  }

  /** Whether the hub has taken all of them. */
  get areInForce(): boolean {
    for (const { cursor } of this.#all) if (!cursor.isInForce) return false;
    return true;
  }

  add(subscription: RoomSubscription): void {
    this.#all.add(subscription);
    this.#toAsk.add(subscription);
  }

  /** It is to begin where its cursor is; what the hub says of it from here on is of the place before. */
  again(subscription: RoomSubscription): void {
    if (!this.#all.has(subscription)) return;
    this.#drop(subscription);
    this.#toAsk.add(subscription);
  }

  remove(subscription: RoomSubscription): void {
    this.#all.delete(subscription);
    this.#toAsk.delete(subscription);
    this.#drop(subscription);
  }

  /** The connection is gone: the next hub knows nothing. */
  forget(): void {
    this.#names.clear();
    this.#byName.clear();
    this.#toDrop = [];
    for (const subscription of this.#all) {
      subscription.cursor.lost();
      this.#toAsk.add(subscription);
    }
  }

  /** The text frames that tell the hub what changed since the last call. */
  changes(): string[] {
    const texts: string[] = [];
    for (const subscription of [...this.#toAsk]) {
      const name = `_${(this.#counter += 1)}`;
      const text = ask(name, subscription);
      if (utf8.encode(text).length > DEFAULT_LIMITS.controlMaxBytes) {
        this.#end(subscription, new CarillonError('CONTROL_TOO_LARGE', 'ask for patterns, or for fewer rooms at once'));
        continue;
      }
      this.#drop(subscription);
      this.#names.set(subscription, name);
      this.#byName.set(name, subscription);
      subscription.cursor.asked();
      texts.push(text);
    }
    this.#toAsk.clear();
    for (const request of this.#toDrop) texts.push(formatControl({ op: 'unsubscribe', request }));
    this.#toDrop = [];
    return texts;
  }

  /** Whose events come with this name in `re`. */
  named(name: string): RoomSubscription | undefined {
    return this.#byName.get(name);
  }

  /** Hears of a request; false when it is none of these. */
  hear(frame: RequestFrame): boolean {
    const subscription = this.#byName.get(frame.request ?? '');
    if (subscription === undefined) return false;
    switch (frame.op) {
      case 'subscribed':
        if (frame.seq === undefined && subscription.cursor.start !== undefined) this.#report(new CarillonError('LOG_ABSENT', `${subscription.shownRooms} from now on`));
        subscription.cursor.subscribed(frame.seq, frame.epoch);
        break;
      case 'live':
        subscription.cursor.live(frame.seq);
        break;
      case 'behind':
        subscription.cursor.behind();
        break;
      case 'gap':
        subscription.miss({ from: frame.from, to: frame.to, reason: frame.reason });
        break;
      case 'error':
        this.#refused(subscription, frame);
        break;
      default:
        frame satisfies never;
    }
    return true;
  }

  #refused(subscription: RoomSubscription, frame: Extract<ControlFrame, { readonly op: 'error' }>): void {
    this.#byName.delete(this.#names.get(subscription) ?? '');
    this.#names.delete(subscription);
    this.#end(subscription, hubError(frame));
  }

  /** A callback has no reader that would hear why. */
  #end(subscription: RoomSubscription, error: CarillonError): void {
    this.#report(error);
    subscription.end(error);
  }

  #drop(subscription: RoomSubscription): void {
    const name = this.#names.get(subscription);
    if (name === undefined) return;
    this.#names.delete(subscription);
    this.#byName.delete(name);
    this.#toDrop.push(name);
  }
}

function ask(request: string, { rooms, cursor: { start }, isEcho }: RoomSubscription): string {
  return formatControl({ op: 'subscribe', request, rooms, ...(start === undefined ? {} : { since: start }), ...(isEcho ? { echo: true } : {}) });
}
