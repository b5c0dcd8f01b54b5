import type { LogGap, StoredEvent } from '@carillon/log';
import type { Lane } from '@carillon/session';
import { ALL_ROOMS } from '@carillon/wire';

import type { TrailJournal } from './trail-journal.ts';
import { TrailReader, type ReaderSpec } from './trail-reader.ts';
import { RoomRuns, SeqRuns } from './trail-runs.ts';
import type { TrailFact } from './trail.ts';

/**
 * What one hub notes of one workspace: who reads what from where on, twice a second that all of them were handed everything up to
 * a sequence, and whatever is not covered by that.
 */
export interface WorkspaceTrailOptions {
  readonly journal: Pick<TrailJournal, 'note' | 'isEmpty'>;
  /** Names of readers and connections: no two of all hubs have the same. */
  readonly nextName: () => string;
  /** Milliseconds of a clock that does not go back. */
  readonly clock: () => number;
  /** Writes what waits in batches. */
  readonly flush: () => void;
}

/** Where the durable lane of the workspace is. */
export interface TrailPosition {
  readonly heardSeq: number;
  readonly certain: number;
  readonly interests: { since(pattern: string): Promise<number> | undefined };
}

/** Why a connection is gone. */
export interface PeerEnd {
  readonly droppedEvents: number;
  readonly reason: string;
}

interface Peer {
  readonly id: string;
  readonly lane: Lane;
  readonly session: string;
  readonly keyId: string | undefined;
  readonly readers: Set<TrailReader>;
  readonly patterns: Map<string, TrailReader>;
  /** Of a repeater: what it was given since it was last noted. */
  given: SeqRuns;
  ids: string[];
  lastGiven: number;
  /** Everything that a repeater was given up to here is with its connection. */
  takenSeq: number;
  /** What was last said to wait; undefined: nothing. */
  waitsFrom: number | undefined;
  isClosingSaid: boolean;
}

/** A hub that has readers and nothing to say says that it lives. */
const ALIVE_MS = 3_000;
/** Every reader is noted again so often: whoever looks for those of a moment reads so far back, and no further. */
export const AGAIN_MS = 600_000;
/** Readers noted again in one beat. */
const AGAIN_MAX = 200;
const RUNS_MAX = 5_000;
const IDS_MAX = 500;
const PEERS_OF_FACT_MAX = 1_000;

export class WorkspaceTrail {
  readonly #options: WorkspaceTrailOptions;
  readonly #peers = new Map<Lane, Peer>();
  readonly #readers = new Set<TrailReader>();
  /** Kept from whole groups of connections; a route's list of them is one object while it holds. */
  #denied = new Map<readonly Lane[], RoomRuns>();
  #deniedRuns = 0;
  #position: TrailPosition | undefined = undefined;
  #saidCertain = 0;
  #saidAtMs = 0;
  #againAtMs: number;
  #again: Iterator<TrailReader, undefined> | undefined = undefined;

  constructor(options: WorkspaceTrailOptions) {
    this.#options = options;
    this.#againAtMs = options.clock();
  }

  get isIdle(): boolean {
    return this.#peers.size === 0 && this.#options.journal.isEmpty;
  }

  follow(position: TrailPosition): void {
    this.#position = position;
  }

  note(fact: TrailFact): void {
    this.#options.journal.note(fact);
  }

  /** Somebody reads durable rooms from a position that he says when he begins. */
  open(spec: ReaderSpec): TrailReader {
    const peer = this.#peerOf(spec);
    const reader = new TrailReader({
      id: this.#options.nextName(), peer: peer.id, spec, clock: this.#options.clock, note: (fact) => this.note(fact), heardSeq: () => this.#position?.heardSeq ?? 0,
      forget: (ended) => {
        this.#readers.delete(ended);
        peer.readers.delete(ended);
        if (peer.readers.size === 0 && spec.how !== 'repeater') this.#peers.delete(spec.lane);
      },
    });
    this.#readers.add(reader);
    peer.readers.add(reader);
    return reader;
  }

  /** Somebody hears a pattern live from now on: a messenger of the first protocol, or a link (every room). */
  hears(pattern: string, spec: Omit<ReaderSpec, 'rooms'>): void {
    const heardSeq = this.#position?.heardSeq ?? 0;
    const reader = this.open({ ...spec, rooms: [pattern] });
    this.#peerOf(spec).patterns.set(pattern, reader);
    // Known at once, but for the first who wants it. One that cannot be tailed is not heard.
    this.#position?.interests.since(pattern)?.then((seq) => reader.beginLive(Math.max(seq, heardSeq)), () => undefined);
  }

  hearsAll(spec: Omit<ReaderSpec, 'rooms'>): void {
    this.hears(ALL_ROOMS, spec);
  }

  hearsNoMore(pattern: string, lane: Lane): void {
    this.#peers.get(lane)?.patterns.get(pattern)?.end('unsubscribed');
    this.#peers.get(lane)?.patterns.delete(pattern);
  }

  hearsNothing(lane: Lane): void {
    this.hearsNoMore(ALL_ROOMS, lane);
  }

  /** A repeater is there: it may be given events one by one. */
  repeater(spec: Pick<ReaderSpec, 'session' | 'keyId' | 'lane'>): void {
    this.#peerOf(spec);
  }

  /** A repeater was given an event: by its sequence, or by its id where another hub stored it. */
  given(lane: Lane, { seq, id }: { readonly seq: number } & { readonly id?: string } | { readonly seq?: undefined; readonly id: string }): void {
    const peer = this.#peers.get(lane);
    if (peer === undefined) return;
    if (seq === undefined) peer.ids.push(id);
    else {
      peer.given.add(seq);
      peer.lastGiven = Math.max(peer.lastGiven, seq);
    }
    if (peer.given.size >= RUNS_MAX || peer.ids.length >= IDS_MAX) this.#sayGiven(peer);
  }

  /** An event was kept from connections that want its room. */
  denied(lanes: readonly Lane[], event: StoredEvent): void {
    let runs = this.#denied.get(lanes);
    if (runs === undefined) this.#denied.set(lanes, (runs = new RoomRuns()));
    const before = runs.size;
    runs.add(event);
    this.#deniedRuns += runs.size - before;
    if (this.#deniedRuns >= RUNS_MAX) this.#sayDenied();
  }

  /** The tail of the log could not give these. */
  untold({ from, to, reason }: LogGap): void {
    this.note({ kind: 'untold', from, to, reason });
  }

  late({ room, seq }: StoredEvent): void {
    this.note({ kind: 'late', room, seq });
  }

  /** A connection is gone. Whatever read on it has ended. */
  left(lane: Lane, { droppedEvents, reason }: PeerEnd): void {
    const peer = this.#peers.get(lane);
    if (peer === undefined) return;
    // What waits in a batch for it is dropped, too; a closed lane says how much came late.
    this.#options.flush();
    const isDropped = droppedEvents + lane.close() > 0;
    this.#sayGiven(peer);
    if (isDropped && peer.lastGiven > peer.takenSeq) this.note({ kind: 'lost', peer: peer.id, upTo: peer.takenSeq, reason });
    for (const reader of [...peer.readers]) reader.lost({ isDropped, reason, isLast: true });
    this.#peers.delete(lane);
  }

  /** Notes what has gathered; `isTold`: also how far everybody is. */
  beat({ isTold }: { readonly isTold: boolean }): void {
    if (isTold) this.#tell();
    this.#sayDenied();
    for (const peer of this.#peers.values()) this.#sayGiven(peer);
    for (const reader of this.#readers) reader.beat();
    this.#noteAgain();
  }

  #tell(): void {
    const { clock, flush } = this.#options;
    const position = this.#position;
    if (position === undefined || this.#peers.size === 0) return;
    // What the tail has brought is written, so that a lane that has nothing waiting has everything.
    flush();
    const { certain, heardSeq } = position;
    for (const peer of this.#peers.values()) this.#look(peer);
    // The log was made anew.
    if (certain < this.#saidCertain) this.#saidCertain = 0;
    const isNews = heardSeq > this.#saidCertain && certain > this.#saidCertain;
    if (this.#readers.size === 0 || (!isNews && clock() - this.#saidAtMs < ALIVE_MS)) return;
    this.#saidAtMs = clock();
    this.#saidCertain = certain;
    this.note({ kind: 'delivered', certain });
  }

  #look(peer: Peer): void {
    const { lane, id } = peer;
    if (lane.closed) {
      if (!peer.isClosingSaid) for (const reader of peer.readers) reader.lost({ isDropped: true, reason: 'peer-gone', isLast: false });
      peer.isClosingSaid = true;
      return;
    }
    if (lane.queuedBytes === 0) {
      peer.takenSeq = peer.lastGiven;
      if (peer.waitsFrom !== undefined) this.note({ kind: 'waits', peer: id, upTo: null });
      peer.waitsFrom = undefined;
    } else if (peer.waitsFrom !== lane.writtenSeq) {
      peer.waitsFrom = lane.writtenSeq;
      this.note({ kind: 'waits', peer: id, upTo: lane.writtenSeq });
    }
  }

  #noteAgain(): void {
    const nowMs = this.#options.clock();
    if (this.#again === undefined && nowMs - this.#againAtMs < AGAIN_MS / 2) return;
    if (this.#again === undefined) this.#againAtMs = nowMs;
    // Walks on where the last beat stopped; what comes meanwhile has just been noted.
    this.#again ??= this.#readers.values();
    for (let noted = 0; noted < AGAIN_MAX; noted += 1) {
      const next = this.#again.next();
      if (next.done === true) {
        this.#again = undefined;
        return;
      }
      next.value.again();
    }
  }

  #sayDenied(): void {
    if (this.#denied.size === 0) return;
    const denied = this.#denied;
    this.#denied = new Map();
    this.#deniedRuns = 0;
    for (const [lanes, runs] of denied) {
      const peers = lanes.flatMap((lane) => this.#peers.get(lane)?.id ?? []);
      for (const { room, from, to } of runs.take()) {
        for (let at = 0; at < peers.length; at += PEERS_OF_FACT_MAX) this.note({ kind: 'skipped', peers: peers.slice(at, at + PEERS_OF_FACT_MAX), room, from, to, reason: 'RECEIVE_DENIED' });
      }
    }
  }

  #sayGiven(peer: Peer): void {
    const { id, session, keyId, given, ids } = peer;
    if (given.size === 0 && ids.length === 0) return;
    peer.given = new SeqRuns();
    peer.ids = [];
    this.note({ kind: 'given', peer: id, session, ...(keyId === undefined ? {} : { key: keyId }), ...(given.size === 0 ? {} : { seqs: given.text }), ...(ids.length === 0 ? {} : { ids }) });
  }

  #peerOf({ lane, session, keyId }: Pick<ReaderSpec, 'lane' | 'session' | 'keyId'>): Peer {
    let peer = this.#peers.get(lane);
    if (peer === undefined) {
      peer = { id: this.#options.nextName(), lane, session, keyId, readers: new Set(), patterns: new Map(), given: new SeqRuns(), ids: [], lastGiven: 0, takenSeq: 0, waitsFrom: undefined, isClosingSaid: false };
      this.#peers.set(lane, peer);
    }
    return peer;
  }
}
