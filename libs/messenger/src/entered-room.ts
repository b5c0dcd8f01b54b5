import { CarillonError, roomFault } from '@carillon/wire';
import type { EnterOptions, Presence } from './presence.ts';
import type { AskFrame, StandingRequest, StandingRole } from './standing-request.ts';

const NAME = /^[0-9A-Za-z_-]{1,64}$/;
/** What a text field of a control frame holds. */
const DATA_MAX_CHARACTERS = 1_024;

/** A room that this messenger is in. */
export class EnteredRoom implements Presence, StandingRole {
  readonly room: string;
  readonly #options: EnterOptions;
  readonly #request: StandingRequest;

  /** Codes (thrown): ROOM_NAME_INVALID, CONTROL_INVALID (name or data). */
  constructor(room: string, options: EnterOptions, open: (role: StandingRole) => StandingRequest) {
    checkRoom(room);
    const { name, data } = options;
    if (name !== undefined && !NAME.test(name)) throw new CarillonError('CONTROL_INVALID', 'a name is 1 to 64 of 0-9A-Za-z_-');
    if (data !== undefined && data.length > DATA_MAX_CHARACTERS) throw new CarillonError('CONTROL_INVALID', `data is longer than ${DATA_MAX_CHARACTERS}`);
    this.room = room;
    this.#options = { ...(name === undefined ? {} : { name }), ...(data === undefined ? {} : { data }) };
    this.#request = open(this);
  }

  ready(): Promise<void> {
    return this.#request.ready();
  }

  leave(): Promise<void> {
    this.#request.close();
    return Promise.resolve();
  }

  ask(request: string): AskFrame {
    return { op: 'enter', request, room: this.room, ...this.#options };
  }

  ended(): void {
    // Listeners of the messenger were told; nobody reads a presence.
  }
}

/** Code (thrown): ROOM_NAME_INVALID. */
export function checkRoom(room: string): void {
  const fault = roomFault(room);
  if (fault !== undefined) throw new CarillonError('ROOM_NAME_INVALID', fault);
}
