/** Somebody who is in a room. */
export interface RoomMember {
  readonly name: string;
  /** Since when, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** What it wants to be shown of it. */
  readonly data?: string | undefined;
}

/** Options of `enter`. */
export interface EnterOptions {
  /** 1 to 64 of `0-9A-Za-z_-`. Default: this messenger's session, which is a new one each time a program starts. */
  readonly name?: string;
  /** What others are shown, at most 1,024 UTF-16 units; JSON, if it is to say more. */
  readonly data?: string;
}

/** A room that this messenger is in, as others see it. It enters again after each reconnect. */
export interface Presence {
  readonly room: string;
  /**
   * Resolves when others see it, now or the next time. Codes: what ended it (SEND_DENIED, PRESENCE_EXCEEDED, PRESENCE_NAME_IN_USE,
   * LOG_ABSENT: no log at this hub, or a hub of the first protocol), which `error` listeners are told, too; ABORTED after
   * `leave`; MESSENGER_CLOSED.
   */
  ready(): Promise<void>;
  /** Leaves. Idempotent; also resolves when there is no connection, whose end was the leaving. */
  leave(): Promise<void>;
}

/** What a hub says of a room. */
export interface PresenceChange {
  /** What was said before does not count: `joined` are there, `left` were; more of both may follow. True at first and after each reconnect. */
  readonly isAll: boolean;
  readonly joined: readonly RoomMember[];
  /** `lastSeenMs` is in milliseconds since 1970. */
  readonly left: readonly { readonly name: string; readonly lastSeenMs: number }[];
}

/**
 * Who is in a room, and who was. It goes on after each reconnect, and meanwhile shows what was known. As an iterable it gives
 * the changes from the first call of its iterator on, beginning with what is known then; who reads slowly gets one change that
 * says all instead of many. Leaving the loop closes it. It throws what ended it as `Presence.ready` rejects (RECEIVE_DENIED for
 * SEND_DENIED).
 */
export interface RoomWatch extends AsyncIterable<PresenceChange> {
  readonly room: string;
  readonly closed: boolean;
  /** Live: it changes as the hub says. */
  readonly members: ReadonlyMap<string, RoomMember>;
  /** Who has left and when they were last seen, in milliseconds since 1970, as far back as the hub knows. */
  readonly lastSeen: ReadonlyMap<string, number>;
  /** Hears of every change from now on, after `members` has it. Returns what ends it. */
  on(listener: (change: PresenceChange) => void): () => void;
  /** Resolves when the hub has begun to say who is there, now or the next time. Codes as of `Presence.ready`. */
  ready(): Promise<void>;
  /** Ends it; idempotent. */
  close(): void;
}
