import type { ControlFrame } from '@carillon/wire';

/**
 * Events that a reader does not get, whatever it does: `from` to `to`, both included, of the log's sequences.
 * `retention`: removed by age or size, `damaged`: unreadable, `epoch`: of a log that was made anew since (all after `from`).
 */
export interface EventGap {
  readonly from: number;
  readonly to: number;
  readonly reason: Extract<ControlFrame, { readonly op: 'gap' }>['reason'];
}
