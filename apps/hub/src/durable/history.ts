import type { OutboundEvent } from '@carillon/session';
import type { ControlFrame, ErrorCode } from '@carillon/wire';

import { logErrorCode, type DurableLane } from './durable-lane.ts';
import { boundsFor, mayRead } from './event-reader.ts';
import type { Identified } from '../access/identity.ts';
import type { PageTurns } from './page-turns.ts';

export interface HistoryOptions {
  readonly durable: DurableLane;
  readonly peer: Identified;
  readonly turns: PageTurns;
  readonly events: (events: readonly OutboundEvent[]) => void;
  readonly control: (frame: ControlFrame) => void;
  readonly refused: (code: ErrorCode, detail: string) => void;
  readonly signal: AbortSignal;
}

export const HISTORY_MAX = 1_000;
export const HISTORY_MAX_BYTES = 1_048_576;

type HistoryRequest = Extract<ControlFrame, { readonly op: 'history' }>;

/**
 * Answers a request for what was: events and gaps in order, then `page`. Backwards (`before`, or neither) the page is the newest part, and a
 * `before` above the end of the log is as none. Codes: CONTROL_INVALID, SINCE_INVALID (`after` is above the end), those of the log.
 */
export async function answerHistory({ request, rooms, before, after, max }: HistoryRequest, { durable, peer, turns, events, control, refused, signal }: HistoryOptions): Promise<void> {
  if (rooms.length === 0 || max < 1 || max > HISTORY_MAX) return refused('CONTROL_INVALID', `max is 1 to ${HISTORY_MAX}, and there is a room`);
  if (before !== undefined && after !== undefined) return refused('CONTROL_INVALID', 'before or after');
  try {
    await turns.next();
    if (after !== undefined) {
      // A connection's positions are of the log that it was welcomed with: it ends when that is made anew.
      const { head } = await boundsFor({ seq: after, epoch: durable.epoch }, durable.log);
      if (signal.aborted) return;
      if (after > head) return refused('SINCE_INVALID', `${after} is above ${head}`);
    }
    const { workspaceId } = peer.principal;
    const page = after === undefined
      ? await durable.log.readLast({ workspaceId, rooms, count: max, maxBytes: HISTORY_MAX_BYTES, ...(before === undefined ? {} : { before }) })
      : await durable.log.read({ workspaceId, rooms, after, maxEvents: max, maxBytes: HISTORY_MAX_BYTES });
    if (signal.aborted) return;
    const due = page.events.filter((event) => mayRead(peer.principal, event));
    if (due.length > 0) events(due.map((event) => durable.outboundOf(event, { re: request })));
    for (const { from, to, reason } of page.gaps) control({ op: 'gap', request, from, to, reason });
    control({ op: 'page', request, next: page.next, isLast: page.isLast });
  } catch (error) {
    refused(logErrorCode(error), '');
  }
}
