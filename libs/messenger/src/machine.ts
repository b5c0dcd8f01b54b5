import type { MessengerStatus } from './messenger.ts';

/**
 * The life of a messenger as a total table. Rows are the states, columns the events; a cell says where to go and the one
 * thing to do. `stay` cells are events that come late (a timer that had fired, a socket that was given up).
 *
 *                opened          lost            refused      retry           drain            flushed      close
 *   connecting   open/greet      waiting/wait    closed/end   stay            draining/flush   stay         closed/end
 *   open         stay            waiting/wait    closed/end   stay            draining/flush   stay         closed/end
 *   waiting      stay            stay            stay         connecting/dial draining/flush   stay         closed/end
 *   draining     draining/greet  draining/wait   closed/end   draining/dial   stay             closed/end   closed/end
 *   closed       stay            stay            stay         stay            stay             stay         stay
 */
export const STATUSES = ['connecting', 'open', 'waiting', 'draining', 'closed'] as const satisfies readonly MessengerStatus[];

/**
 * `opened` the socket is open · `lost` it is gone, try again · `refused` the hub said never to come back · `retry` the
 * wait is over · `drain` and `close` the caller asked · `flushed` nothing waits any more.
 */
export const EVENTS = ['opened', 'lost', 'refused', 'retry', 'drain', 'flushed', 'close'] as const;
export type MachineEvent = (typeof EVENTS)[number];

/**
 * `greet` restore subscriptions, then send what waits · `wait` forget the socket, set the retry timer · `dial` open a
 * socket · `flush` see whether anything waits · `end` close the socket, settle everything · `none`.
 */
export type Effect = 'none' | 'greet' | 'wait' | 'dial' | 'flush' | 'end';

export interface Transition {
  readonly next: MessengerStatus;
  readonly effect: Effect;
}

const go = (next: MessengerStatus, effect: Effect): Transition => ({ next, effect });
const end = go('closed', 'end');
const flush = go('draining', 'flush');

const stayConnecting = go('connecting', 'none');
const stayOpen = go('open', 'none');
const stayWaiting = go('waiting', 'none');
const stayDraining = go('draining', 'none');
const stayClosed = go('closed', 'none');

export const TABLE: Readonly<Record<MessengerStatus, Readonly<Record<MachineEvent, Transition>>>> = {
  connecting: { opened: go('open', 'greet'), lost: go('waiting', 'wait'), refused: end, retry: stayConnecting, drain: flush, flushed: stayConnecting, close: end },
  open: { opened: stayOpen, lost: go('waiting', 'wait'), refused: end, retry: stayOpen, drain: flush, flushed: stayOpen, close: end },
  waiting: { opened: stayWaiting, lost: stayWaiting, refused: stayWaiting, retry: go('connecting', 'dial'), drain: flush, flushed: stayWaiting, close: end },
  draining: { opened: go('draining', 'greet'), lost: go('draining', 'wait'), refused: end, retry: go('draining', 'dial'), drain: stayDraining, flushed: end, close: end },
  closed: { opened: stayClosed, lost: stayClosed, refused: stayClosed, retry: stayClosed, drain: stayClosed, flushed: stayClosed, close: stayClosed },
};
