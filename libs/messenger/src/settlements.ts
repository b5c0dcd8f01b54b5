import { CarillonError, type ControlFrame } from '@carillon/wire';
import type { Settle } from './abort.ts';

type SettledFrame = Extract<ControlFrame, { readonly op: 'settled' }>;

/** How a delivery is settled. */
export type Verdict =
  | { readonly op: 'ack' }
  | { readonly op: 'nack' | 'defer'; readonly delayMs?: number; readonly reason?: string }
  | { readonly op: 'discard'; readonly reason?: string };

interface Settling extends Settle<void> {
  /** The hub did not keep it: the delivery may be settled again. */
  readonly onKept: () => void;
}

/** As many as fit a control frame with room to spare: 17 characters each at most. */
const SEQS_MAX = 2_048;

/** What a member says of its deliveries: gathered until the next frames go, then waiting for `settled`. */
export class Settlements {
  /** By what they say, apart from the sequences. */
  readonly #due = new Map<string, { readonly verdict: Verdict; readonly seqs: number[] }>();
  /** A sequence may be settled, given out again and settled again before the first answer: the oldest is answered first. */
  readonly #unanswered = new Map<number, readonly Settling[]>();
  #empty: (() => void)[] = [];

  get isEmpty(): boolean {
    return this.#unanswered.size === 0;
  }

  /** Resolves when it is kept. Codes: DELIVERY_UNKNOWN, what the hub answers; then `onKept` was called, if it may be said again. */
  add(seq: number, verdict: Verdict, onKept: () => void): Promise<void> {
    const key = JSON.stringify(verdict);
    const due = this.#due.get(key);
    if (due === undefined) this.#due.set(key, { verdict, seqs: [seq] });
    else due.seqs.push(seq);
    return new Promise((resolve, reject) => {
      this.#unanswered.set(seq, [...(this.#unanswered.get(seq) ?? []), { resolve, reject, onKept }]);
    });
  }

  /** The frames that say it. */
  frames(request: string): readonly ControlFrame[] {
    const frames: ControlFrame[] = [];
    for (const { verdict, seqs } of this.#due.values()) {
      for (let from = 0; from < seqs.length; from += SEQS_MAX) frames.push({ request, ...verdict, seqs: seqs.slice(from, from + SEQS_MAX) });
    }
    this.#due.clear();
    return frames;
  }

  settled({ seqs, unknown = [] }: SettledFrame): void {
    const gone = new Set(unknown);
    for (const seq of gone) this.#take(seq)?.reject(unknownDelivery('it was settled before or timed out'));
    for (const seq of seqs) if (!gone.has(seq)) this.#take(seq)?.resolve();
    this.#tellEmpty();
  }

  /** The hub could not keep what was said; it does not say which of it. False when nothing was. */
  refused(error: CarillonError): boolean {
    if (this.isEmpty) return false;
    this.#reject((settling) => {
      settling.onKept();
      settling.reject(error);
    });
    return true;
  }

  /** The connection is gone, and with it whatever was said and not answered. */
  lost(): void {
    this.#reject(({ reject }) => reject(unknownDelivery('its connection is gone')));
  }

  /** Resolves when everything is answered. */
  whenEmpty(): Promise<void> {
    return this.isEmpty ? Promise.resolve() : new Promise((resolve) => this.#empty.push(resolve));
  }

  #reject(each: (settling: Settling) => void): void {
    const unanswered = [...this.#unanswered.values()].flat();
    this.#due.clear();
    this.#unanswered.clear();
    unanswered.forEach(each);
    this.#tellEmpty();
  }

  #take(seq: number): Settling | undefined {
    const [first, ...rest] = this.#unanswered.get(seq) ?? [];
    if (rest.length === 0) this.#unanswered.delete(seq);
    else this.#unanswered.set(seq, rest);
    return first;
  }

  #tellEmpty(): void {
    if (!this.isEmpty) return;
    const empty = this.#empty;
    this.#empty = [];
    for (const resolve of empty) resolve();
  }
}

export function unknownDelivery(detail: string): CarillonError {
  return new CarillonError('DELIVERY_UNKNOWN', detail);
}
