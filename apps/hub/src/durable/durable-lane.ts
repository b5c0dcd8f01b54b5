import { LogError, type Appended, type EventLog, type LogGap, type LogTail, type StoredClass, type StoredEvent } from '@carillon/log';
import type { Lane, OutboundEvent } from '@carillon/session';
import type { Logger } from '@carillon/runtime';
import { CarillonError, isErrorCode, type ErrorCode } from '@carillon/wire';

import type { HubCounts } from '../counts.ts';
import { Interests } from './interests.ts';
import type { Origin } from '../routing/router.ts';
import type { WorkspaceTrail } from '../trail/trail-workspace.ts';

/**
 * The durable lane of one workspace at this hub. What is taken is appended; what is delivered is what the tail of the log
 * brings, also of events of our own: so every hub delivers in the log's order, and nothing that is not stored.
 *
 *   append ──▶ log ──stored──▶ ack to the publisher, and to a repeater (`stored`)
 *               └────tail────▶ messengers, links, catch-ups that wait to cut over (`deliver`)
 */
export interface DurableLaneOptions {
  readonly workspaceId: string;
  readonly log: EventLog;
  /** Of the log that is open now. */
  readonly epoch: () => string;
  readonly counts: HubCounts;
  readonly logger: Logger;
  readonly nextId: () => string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** An event of ours is stored: repeaters are still owed. */
  readonly stored: (event: OutboundEvent, place: { readonly room: string; readonly origin: Origin; readonly seq: number }) => void;
  /** The log has an event of a room that somebody here wants. */
  readonly deliver: (event: OutboundEvent, stored: StoredEvent) => void;
  /** Where it is noted what became of events. */
  readonly readerTrail?: WorkspaceTrail | undefined;
}

/** How a publisher of the second protocol hears what became of its event. */
export interface PublishAnswer {
  published(id: string, place: { readonly seq: number; readonly class: StoredClass | 'live' }): void;
  refused(id: string, code: ErrorCode, room: string): void;
}

/** What a publisher says of its event besides the room and the body. */
export interface Publish {
  /** Undefined: the hub makes one. */
  readonly id?: string | undefined;
  /** Who publishes, as other peers see it. */
  readonly from?: string | undefined;
  readonly atMs?: number | undefined;
  /** When it happened by its device's clock, if that said so. */
  readonly eventAtMs?: number | undefined;
  readonly ttlMs?: number | undefined;
  readonly traceparent?: string | undefined;
  /** The publisher's inbox: it is a request. */
  readonly replyTo?: string | undefined;
  /** How long it is kept before it takes its place in its room. */
  readonly delayMs?: number | undefined;
  readonly answer?: PublishAnswer | undefined;
  /** How a publisher of the first protocol hears of a refusal. */
  readonly refused?: ((code: ErrorCode) => void) | undefined;
}

/** Takes the events of the tail from a position on. */
export interface TailListener {
  event(event: StoredEvent): void;
  wants(room: string): boolean;
}

const LINE_FEED = Buffer.from('\n');
/** How an origin other than a messenger is noted with the event; readers skip the field. */
export const ORIGIN_FIELDS: Readonly<Record<Origin, string>> = { messenger: '', 'messenger-owed': '', repeater: '\to=r', hub: '\to=h' };

export class DurableLane {
  readonly log: EventLog;
  readonly interests: Interests;
  /** The lanes of those that publish, by the name in `from`: nobody hears himself. */
  readonly publishers = new Map<string, Lane>();
  readonly listeners = new Set<TailListener>();
  /** Readers that are live: what the tail cannot give they look for in the log, which says why it is gone. */
  readonly liveReaders = new Set<{ tailMissed(from: number): void }>();
  /** Live tails show where a reader goes on; nobody else pays for that. */
  showsPlaces = false;
  readonly #options: DurableLaneOptions;
  readonly #tail: LogTail;
  #heardSeq = 0;

  constructor(options: DurableLaneOptions) {
    this.#options = options;
    this.log = options.log;
    this.#tail = options.log.tail(options.workspaceId, {
      event: (event) => this.#take(event),
      gap: (gap) => this.#miss(gap),
    });
    this.interests = new Interests(this.#tail, (error) => options.logger.warn({ error, workspace: options.workspaceId }, 'the log could not be tailed'));
  }

  get epoch(): string {
    return this.#options.epoch();
  }

  /** The highest sequence that the tail has brought. */
  get heardSeq(): number {
    return this.#heardSeq;
  }

  /** Everything that is wanted here was delivered up to this sequence. */
  get certain(): number {
    return this.#tail.certain;
  }

  /** Stores an event; what becomes of it is told to `publish.answer`. */
  append(room: string, origin: Origin, event: OutboundEvent, publish: Publish): void {
    const { workspaceId, log, nextId, now } = this.#options;
    const id = publish.id ?? nextId();
    const atMs = publish.atMs ?? now();
    event.fields = `\tid=${id}${replyField(publish)}`;
    const appended = log.append({
      workspaceId, room, id, atMs,
      fields: fieldsOf(publish) + ORIGIN_FIELDS[origin],
      body: event.bytes.subarray(event.tagEnd + 1),
      expiresAtMs: publish.ttlMs === undefined ? undefined : atMs + publish.ttlMs,
    });
    appended.then(
      (place) => this.#stored(room, origin, event, { id, place, publish }),
      (error: unknown) => this.#refused(publish, { id, room, error }),
    );
  }

  /** The log is another one: what its tail brought before says nothing about it. */
  beginAnew(): void {
    this.#heardSeq = 0;
  }

  close(): Promise<void> {
    this.listeners.clear();
    return this.#tail.close();
  }

  #stored(room: string, origin: Origin, event: OutboundEvent, { id, place, publish }: { readonly id: string; readonly place: Appended; readonly publish: Publish }): void {
    const { counts, now, readerTrail, stored } = this.#options;
    publish.answer?.published(id, place);
    if (place.duplicate) {
      counts.drop('duplicate', 1);
      return;
    }
    counts.stored += 1;
    if (publish.ttlMs !== undefined) {
      const { atMs = now(), from, ttlMs } = publish;
      readerTrail?.note({ kind: 'stored', id, room, seq: place.seq, atMs, expiresAtMs: atMs + ttlMs, from });
    }
    stored(event, { room, origin, seq: place.seq });
  }

  #refused({ answer, from, refused }: Publish, { id, room, error }: { readonly id: string; readonly room: string; readonly error: unknown }): void {
    const { counts, logger, readerTrail } = this.#options;
    const code = logErrorCode(error);
    readerTrail?.note({ kind: 'refused', id, room, code, from });
    if (code === 'INTERNAL') logger.error({ error }, 'an event could not be stored');
    if (answer !== undefined) {
      answer.refused(id, code, room);
      return;
    }
    counts.drop('log-refused', 1);
    refused?.(code);
  }

  #take(event: StoredEvent): void {
    if (event.seq < this.#heardSeq) this.#options.readerTrail?.late(event);
    else this.#heardSeq = event.seq;
    const outbound = this.outboundOf(event, { place: Math.min(event.seq, this.#tail.certain) });
    this.#options.deliver(outbound, event);
    for (const listener of this.listeners) if (listener.wants(event.room)) listener.event(event);
  }

  #miss(gap: LogGap): void {
    const { from, to, reason } = gap;
    this.#options.readerTrail?.untold(gap);
    this.#options.logger.warn({ workspace: this.#options.workspaceId, from, to, reason }, 'events of the log cannot be delivered');
    for (const reader of [...this.liveReaders]) reader.tailMissed(from);
  }

  /** An event of the log as it goes to peers; `re`: the request it answers; `place`: where a reader goes on that has it, by default behind it. */
  outboundOf({ seq, room, id, atMs, fields, body }: StoredEvent, { re, place = seq }: { readonly re?: string; readonly place?: number } = {}): OutboundEvent {
    const bytes = Buffer.concat([Buffer.from(room), LINE_FEED, body]);
    const roomEnd = bytes.length - body.length - 1;
    const from = this.publishers.size === 0 ? undefined : fromOf(fields);
    return {
      bytes, roomEnd, tagEnd: roomEnd, order: 0,
      fields: `\tid=${id}\tseq=${seq}\tat=${atMs}${fields}${re === undefined ? '' : `\tre=${re}`}`,
      source: from === undefined ? undefined : this.publishers.get(from),
      place: this.showsPlaces ? `${this.epoch}-${place}` : undefined,
      seq,
    };
  }
}

/** A refusal of the log, or of what keeps events in it, by the code of the catalogue. */
export function logErrorCode(error: unknown): ErrorCode {
  if (error instanceof CarillonError) return error.code;
  if (!(error instanceof LogError)) return 'INTERNAL';
  if (error.code === 'LOG_CLOSED') return 'DRAINING';
  return isErrorCode(error.code) ? error.code : 'INTERNAL';
}

export function fromOf(fields: string): string | undefined {
  return /\tfrom=([^\t]+)/.exec(fields)?.[1];
}

/** When it happened by its device's clock, if that said so. */
export function eventAtOf(fields: string): number | undefined {
  const [, text] = /\tet=([0-9]+)/.exec(fields) ?? [];
  return text === undefined ? undefined : Number(text);
}

/** Where an event of the log entered. */
export function originOf(fields: string): Origin {
  if (fields.endsWith('\to=h')) return 'hub';
  return fields.endsWith('\to=r') ? 'repeater' : 'messenger';
}

/** What the log keeps of it beside id and time. */
export function fieldsOf(publish: Publish): string {
  const { eventAtMs, from, ttlMs, traceparent } = publish;
  return `${from === undefined ? '' : `\tfrom=${from}`}${ttlMs === undefined ? '' : `\tttl=${ttlMs}`}${traceparent === undefined ? '' : `\ttp=${traceparent}`}${replyField(publish)}${eventAtMs === undefined ? '' : `\tet=${eventAtMs}`}`;
}

const replyField = ({ replyTo }: Publish): string => (replyTo === undefined ? '' : `\trt=${replyTo}`);
