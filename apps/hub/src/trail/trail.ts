import type { GapReason } from '@carillon/wire';

/**
 * What became of events, as it is written down when it happens (docs/adr/0014). Not a fact a delivery: what a reader gets is
 * all of its rooms from a position on, so its beginning, its end and what was kept from it say everything. Facts of one hub
 * are in the order of `at`, which the journal adds.
 */

/** Of one event, found by its id. */
export type EventFact =
  /** A hub did not take it. */
  | { readonly kind: 'refused'; readonly id: string; readonly room: string; readonly code: string; readonly from?: string | undefined }
  /** It waits to be due. */
  | { readonly kind: 'delayed'; readonly id: string; readonly room: string; readonly dueMs: number }
  /** It is stored and will expire: the log does not find it any more then. */
  | { readonly kind: 'stored'; readonly id: string; readonly room: string; readonly seq: number; readonly atMs: number; readonly expiresAtMs: number; readonly from?: string | undefined }
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

/** `v1`: a pattern of a messenger of the first protocol. */
export type ReaderKind = 'session' | 'v1' | 'tail' | 'link' | 'repeater';

/** Of one reader: a subscription, a pattern, a live tail, a link. Sequences are those of the log. */
export type ReaderFact =
  /** It gets every event of its rooms after `after`. Said again now and then of readers that are there. */
  | {
      readonly kind: 'reading';
      readonly reader: string;
      /** The connection that it is on. */
      readonly peer: string;
      readonly session: string;
      readonly key?: string | undefined;
      readonly how: ReaderKind;
      readonly rooms: readonly string[];
      /** It wants what its own session published. */
      readonly echo?: true | undefined;
      readonly after: number;
      /** The position that its session came with: it has everything up to it. */
      readonly since?: number | undefined;
      /** It is live, and was handed everything up to here before. */
      readonly live?: number | undefined;
      /** It reads the log and was handed everything up to here. */
      readonly read?: number | undefined;
      readonly again?: true | undefined;
    }
  /** It reads the log, and its connection has taken everything up to here. */
  | { readonly kind: 'read'; readonly reader: string; readonly upTo: number }
  | { readonly kind: 'live'; readonly reader: string; readonly seq: number }
  /** It is not live any more and reads the log from here on. */
  | { readonly kind: 'behind'; readonly reader: string; readonly upTo: number }
  /** What came after `upTo`, up to `to`, was due and is dropped. */
  | { readonly kind: 'ended'; readonly reader: string; readonly upTo: number; readonly to: number; readonly reason: string }
  /** It was told that it does not get these. */
  | { readonly kind: 'gap'; readonly reader: string; readonly from: number; readonly to: number; readonly reason: GapReason };

/** Of a moment at a hub: read beside an event, and never searched far from it. */
export type MomentFact =
  /** Readers that are live were handed everything up to `certain`; also the sign that the hub lives. */
  | { readonly kind: 'delivered'; readonly certain: number }
  /** What came after `upTo` waits in the lane of a connection; null: nothing waits any more. */
  | { readonly kind: 'waits'; readonly peer: string; readonly upTo: number | null }
  /** All events of the room in this run were kept from readers: one reader, or those of the connections. */
  | { readonly kind: 'skipped'; readonly reader?: string; readonly peers?: readonly string[]; readonly room: string; readonly from: number; readonly to: number; readonly reason: string }
  /** The tail of the log could not give these: readers that only hear the tail did not get them. */
  | { readonly kind: 'untold'; readonly from: number; readonly to: number; readonly reason: GapReason }
  /** The tail of the log brought it after later ones: who had gone meanwhile did not get it. */
  | { readonly kind: 'late'; readonly room: string; readonly seq: number }
  /** A repeater was given these: runs of sequences (`7-9,12`), or ids where another hub stored them. */
  | { readonly kind: 'given'; readonly peer: string; readonly session: string; readonly key?: string | undefined; readonly seqs?: string; readonly ids?: readonly string[] }
  /** A repeater has gone: of what it was given after `upTo` some is dropped. */
  | { readonly kind: 'lost'; readonly peer: string; readonly upTo: number; readonly reason: string };

/** So many facts were not kept: the buffer was full. */
export interface MissedFact {
  readonly kind: 'missed';
  readonly facts: number;
}

export type TrailFact = EventFact | ReaderFact | MomentFact | MissedFact;

/** A fact as it is kept. */
export type TrailLine = TrailFact & { readonly at: number; readonly hub: string };

/** Where facts go. Costs a push; what is beyond its bound is counted, not kept. */
export interface Trail {
  note(workspaceId: string, fact: TrailFact): void;
}

export const NO_TRAIL: Trail = { note: () => undefined };
