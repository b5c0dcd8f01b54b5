/** What became of an event, as it is written down when it happens. `at` is added by whoever keeps it. */
export type TrailFact =
  /** A hub did not take it. */
  | { readonly kind: 'refused'; readonly id: string; readonly room: string; readonly code: string; readonly from?: string | undefined }
  /** It waits to be due. */
  | { readonly kind: 'delayed'; readonly id: string; readonly room: string; readonly dueMs: number }
  /** A consumer's member was given it, or what came of that. `seq` is that of the event in its room. */
  | {
      readonly kind: 'attempt';
      readonly id: string;
      readonly room: string;
      readonly consumer: string;
      /** The session of the member. */
      readonly member?: string | undefined;
      readonly attempt: number;
      readonly outcome: 'delivered' | 'acked' | 'nacked' | 'deferred' | 'discarded' | 'timed-out' | 'dead' | 'redriven';
      readonly reason?: string | undefined;
    };

/** Where facts go. Costs a push; what is beyond its bound is counted, not kept. */
export interface Trail {
  note(workspaceId: string, fact: TrailFact): void;
}

export const NO_TRAIL: Trail = { note: () => undefined };
