import { CarillonError, formatControl, type ControlFrame } from '@carillon/wire';
import { abortable, type Settle } from './abort.ts';
import type { EventGap } from './gap.ts';
import { hubError } from './hub-error.ts';
import type { ReceivedEvent } from './received-event.ts';

/** Which part of the past to read. */
export interface HistoryRange {
  /** The newest events below this sequence. */
  readonly before?: number | undefined;
  /** The oldest events above this sequence. Not together with `before`; without both: the newest. */
  readonly after?: number | undefined;
  /** Events at the most, 1 to 1,000; default 100. A hub may send fewer, since a page is also bounded in bytes. */
  readonly max?: number | undefined;
}

/** A part of the past, oldest first. */
export interface HistoryPage<T = unknown> {
  readonly events: readonly ReceivedEvent<T>[];
  /** What is missing among them. */
  readonly gaps: readonly EventGap[];
  /** Up to where it looked: what came since is read with it as `after`, or subscribed to with it as `since`. What was before: `before` the first event. */
  readonly next: number;
  /** Nothing that was asked for lies behind `next`, as of this reading. */
  readonly isLast: boolean;
}

type PageFrame = Extract<ControlFrame, { readonly op: 'page' }>;
type GapFrame = Extract<ControlFrame, { readonly op: 'gap' }>;

interface Pending {
  readonly text: string;
  readonly max: number;
  readonly settle: Settle<HistoryPage>;
  events: ReceivedEvent[];
  gaps: EventGap[];
  isAsked: boolean;
}

/** What one connection may have under way at our own hubs. */
const PAGES_MAX = 16;
export const HISTORY_MAX = 1_000;
const HISTORY_DEFAULT = 100;

/** Pages of the past that were asked for. Reading changes nothing, so after a reconnect they are asked for again. */
export class Histories {
  readonly #pending = new Map<string, Pending>();
  #counter = 0;

  get isPending(): boolean {
    return [...this.#pending.values()].some(({ isAsked }) => !isAsked);
  }

  /** Codes: REQUESTS_EXCEEDED, ABORTED, what the hub answers. */
  add(rooms: readonly string[], { before, after, max = HISTORY_DEFAULT }: HistoryRange, signal?: AbortSignal): Promise<HistoryPage> {
    if (this.#pending.size >= PAGES_MAX) return Promise.reject(new CarillonError('REQUESTS_EXCEEDED', `at most ${PAGES_MAX} pages at a time`));
    const request = `-${(this.#counter += 1)}`;
    const text = formatControl({ op: 'history', request, rooms, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }), max });
    return abortable<HistoryPage>(signal, (settle) => {
      this.#pending.set(request, { text, max, settle, events: [], gaps: [], isAsked: false });
      return () => void this.#pending.delete(request);
    });
  }

  /** The text frames that ask for what was not asked for yet. */
  asks(): string[] {
    const due = [...this.#pending.values()].filter(({ isAsked }) => !isAsked);
    for (const pending of due) pending.isAsked = true;
    return due.map(({ text }) => text);
  }

  /** The connection is gone. */
  forget(): void {
    for (const pending of this.#pending.values()) {
      pending.events = [];
      pending.gaps = [];
      pending.isAsked = false;
    }
  }

  event(request: string, event: ReceivedEvent): void {
    const pending = this.#pending.get(request);
    // More than was asked for is not kept: memory is bounded whatever a hub sends.
    if (pending !== undefined && pending.events.length < pending.max) pending.events.push(event);
  }

  gap({ request, from, to, reason }: GapFrame): void {
    const pending = this.#pending.get(request);
    if (pending !== undefined && pending.gaps.length <= pending.max) pending.gaps.push({ from, to, reason });
  }

  page({ request, next, isLast }: PageFrame): void {
    const pending = this.#take(request);
    pending?.settle.resolve({ events: pending.events, gaps: pending.gaps, next, isLast });
  }

  /** False when it is none of these. */
  refused(frame: Extract<ControlFrame, { readonly op: 'error' }>): boolean {
    const pending = this.#take(frame.request ?? '');
    pending?.settle.reject(hubError(frame));
    return pending !== undefined;
  }

  /** Gives up all of them. */
  reject(error: Error): void {
    for (const { settle } of this.#pending.values()) settle.reject(error);
    this.#pending.clear();
  }

  #take(request: string): Pending | undefined {
    const pending = this.#pending.get(request);
    this.#pending.delete(request);
    return pending;
  }
}

/** The range as it may be asked for; anything else is a mistake of the program: RangeError. */
export function checkRange({ before, after, max = HISTORY_DEFAULT }: HistoryRange): void {
  if (!Number.isInteger(max) || max < 1 || max > HISTORY_MAX) throw new RangeError(`max must be a whole number from 1 to ${HISTORY_MAX}, not ${max}`);
  if (before !== undefined && after !== undefined) throw new RangeError('before or after, not both');
  for (const seq of [before, after]) if (seq !== undefined && !(Number.isSafeInteger(seq) && seq >= 0)) throw new RangeError(`${seq} is no sequence`);
}
