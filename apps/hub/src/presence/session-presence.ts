import type { Connection } from '@carillon/session';
import { formatControl, roomFault, type ControlFrame, type ErrorCode, type WireLimits } from '@carillon/wire';

import type { Identified } from '../access/identity.ts';
import type { SessionRequest } from '../sessions/messenger-session.ts';
import type { Presence } from './presence.ts';
import { PresenceWatcher } from './presence-watcher.ts';

/** What one session has to do with presence: the rooms it is in, and those it watches. */
export interface SessionPresenceParts {
  readonly presence: Presence | undefined;
  readonly connection: Connection;
  readonly peer: Identified;
  readonly limits: WireLimits;
  /** A request has ended by itself. */
  readonly over: (request: string, code: ErrorCode, detail: string) => void;
}

type Enter = Extract<ControlFrame, { readonly op: 'enter' }>;
type Watch = Extract<ControlFrame, { readonly op: 'watch' }>;

export type OpenedPresence = { readonly ok: true; readonly request: SessionRequest } | { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

/** Of each kind. */
const REQUESTS_MAX = 100;

export class SessionPresence {
  readonly #parts: SessionPresenceParts;
  readonly #open = { enter: 0, watch: 0 };

  constructor(parts: SessionPresenceParts) {
    this.#parts = parts;
  }

  /** Codes: LOG_ABSENT, ROOM_NAME_INVALID, SEND_DENIED, RECEIVE_DENIED, PRESENCE_EXCEEDED, EVENT_RATE_EXCEEDED, BYTE_RATE_EXCEEDED; later those of `Presence.enter`. */
  open(frame: Enter | Watch, session: string): OpenedPresence {
    const { limits, presence } = this.#parts;
    const { op, room } = frame;
    if (presence === undefined) return refused('LOG_ABSENT');
    const fault = roomFault(room, limits.roomMaxBytes);
    if (fault !== undefined) return refused('ROOM_NAME_INVALID', fault);
    const denied = this.#denied(frame);
    if (denied !== undefined) return refused(denied, room);
    if (this.#open[op] >= REQUESTS_MAX) return refused('PRESENCE_EXCEEDED', `at most ${REQUESTS_MAX} a connection`);
    const ended = op === 'enter' ? this.#enter(frame, session, presence) : this.#watch(frame, presence);
    if (typeof ended === 'string') return refused(ended);
    return { ok: true, request: this.#request(frame, { presence, ended }) };
  }

  /** Whoever may send something to a room may be in it; whoever may hear it may see who is there. */
  #denied({ op, room }: Enter | Watch): 'SEND_DENIED' | 'RECEIVE_DENIED' | undefined {
    const { permissions } = this.#parts.peer.principal;
    if (op === 'enter') return permissions.decide('send', room) === 'deny' ? 'SEND_DENIED' : undefined;
    return permissions.covers('receive', room) ? undefined : 'RECEIVE_DENIED';
  }

  #enter({ request, room, name, data }: Enter, session: string, presence: Presence): (() => void) | ErrorCode {
    const { connection, over, peer } = this.#parts;
    const { keyId, meter } = peer.principal;
    // It is an event of the log, and so is the leaving.
    const exceeded = meter.send(room.length + (data?.length ?? 0));
    if (exceeded !== undefined) return exceeded;
    return presence.enter({ room, name: name ?? session, owner: keyId ?? '', data }, {
      entered: () => connection.sendControl(formatControl({ op: 'entered', request })),
      ended: (code) => over(request, code, ''),
    });
  }

  #watch({ request, room }: Watch, presence: Presence): () => void {
    const { connection } = this.#parts;
    return presence.watch(new PresenceWatcher({
      request, room,
      send: (frame) => connection.sendControl(formatControl(frame)),
      whenClear: (listener) => connection.lane.whenClear(listener),
    }));
  }

  #request(frame: Enter | Watch, { presence, ended }: { readonly presence: Presence; readonly ended: () => void }): SessionRequest {
    this.#open[frame.op] += 1;
    const recheck = (): void => {
      const denied = this.#denied(frame);
      if (denied !== undefined) this.#parts.over(frame.request, denied, frame.room);
    };
    const forget = presence.onRights(recheck);
    let isOver = false;
    return {
      recheck,
      end: () => {
        if (isOver) return;
        isOver = true;
        this.#open[frame.op] -= 1;
        forget();
        ended();
      },
    };
  }
}

function refused(code: ErrorCode, detail = ''): OpenedPresence {
  return { ok: false, code, detail };
}
