import { CarillonError, type TagFields } from '@carillon/wire';

/** One event as it came. The same object goes to every subscription that matches: treat it as read-only. */
export interface ReceivedEvent<T = unknown> {
  /** The room it was routed by. */
  readonly room: string;
  /** Its id; undefined over v1, as are the next five. */
  readonly id?: string | undefined;
  /** Its position in the log; undefined for an event of a live room. With the subscription's `epoch` it is a place to go on from. */
  readonly seq?: number | undefined;
  /** When a hub accepted it, in milliseconds since 1970. */
  readonly at?: number | undefined;
  /** When it happened, in milliseconds since 1970 by its device's own clock; undefined where none said so. */
  readonly happenedAt?: number | undefined;
  /** The session that published it, as the hub knows it. */
  readonly from?: string | undefined;
  /** Where a reply to it goes, when it is a request: see `reply`. */
  readonly replyTo?: string | undefined;
  /** The body as it came; hubs of the original system put blank lines before the JSON. */
  readonly body: Uint8Array;
  /** The body as JSON, parsed at the first call. Code (thrown): JSON_INVALID. */
  json(): T;
  /** The body as text; what is not UTF-8 becomes U+FFFD. */
  text(): string;
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });
const lenientUtf8 = new TextDecoder('utf-8');

/** A received event over the bytes of its frame. */
export class FrameEvent implements ReceivedEvent {
  readonly room: string;
  readonly body: Uint8Array;
  readonly id: string | undefined;
  readonly seq: number | undefined;
  readonly at: number | undefined;
  readonly happenedAt: number | undefined;
  readonly from: string | undefined;
  readonly replyTo: string | undefined;
  #parsed: { readonly value: unknown } | undefined;

  constructor(room: string, body: Uint8Array, { id, seq, at, et, from, rt }: TagFields = {}) {
    this.room = room;
    this.body = body;
    this.id = id;
    this.seq = seq;
    this.at = at;
    this.happenedAt = et;
    this.from = from;
    this.replyTo = rt;
  }

  json(): unknown {
    this.#parsed ??= { value: parse(this.body) };
    return this.#parsed.value;
  }

  text(): string {
    return lenientUtf8.decode(this.body);
  }
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(strictUtf8.decode(body)) as unknown;
  } catch (cause) {
    throw new CarillonError('JSON_INVALID', undefined, { cause });
  }
}
