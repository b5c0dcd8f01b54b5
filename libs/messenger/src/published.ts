import type { ControlFrame } from '@carillon/wire';

/**
 * How far a publish came. `sent`: handed to an open socket of a hub that does not answer (v1). `live`: routed to whoever
 * is there. `stored` and `replicated`: in the log at `seq`, fsynced on one machine or held by a quorum of servers; `seq` is 0
 * when it is kept until its delay is over and has no place yet.
 */
export type Published =
  | { readonly class: 'sent' }
  | { readonly class: 'live'; readonly id: string }
  | { readonly class: 'stored' | 'replicated'; readonly id: string; readonly seq: number };

export type PublishedFrame = Extract<ControlFrame, { readonly op: 'published' }>;

/** What the hub said of one event. */
export function publishedAs(reached: PublishedFrame['class'], id: string, seq: number): Published {
  return reached === 'live' ? { class: reached, id } : { class: reached, id, seq };
}
