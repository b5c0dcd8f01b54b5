import { CarillonError } from '@carillon/wire';
import { checkRoom } from './entered-room.ts';
import { Listeners } from './listeners.ts';
import type { PresenceChange, RoomMember, RoomWatch } from './presence.ts';
import { Readers } from './readers.ts';
import type { AnswerFrame, AskFrame, StandingRequest, StandingRole } from './standing-request.ts';

export interface WatchOptions {
  readonly open: (role: StandingRole) => StandingRequest;
  /** Gets what listeners throw. */
  readonly report: (error: Error) => void;
}

/** Three times what our hubs tell of a room: memory is bounded whatever a hub says. */
export const MEMBERS_MAX = 16_384;
/** Changes that wait for a reader before one that says all takes their place. */
const CHANGES_MAX = 256;

/** Who is in a room. */
export class WatchedRoom implements RoomWatch, StandingRole {
  readonly room: string;
  readonly members = new Map<string, RoomMember>();
  readonly lastSeen = new Map<string, number>();
  readonly #listeners = new Listeners<PresenceChange>();
  readonly #readers = new Readers<PresenceChange>();
  readonly #report: (error: Error) => void;
  readonly #request: StandingRequest;
  /** Undefined until somebody iterates. */
  #unread: PresenceChange[] | undefined;

  /** Code (thrown): ROOM_NAME_INVALID. */
  constructor(room: string, { open, report }: WatchOptions) {
    checkRoom(room);
    this.room = room;
    this.#report = report;
    this.#request = open(this);
  }

  get closed(): boolean {
    return this.#readers.isEnded;
  }

  on(listener: (change: PresenceChange) => void): () => void {
    return this.#listeners.add(listener);
  }

  ready(): Promise<void> {
    return this.#request.ready();
  }

  close(): void {
    this.#request.close();
  }

  ask(request: string): AskFrame {
    return { op: 'watch', request, room: this.room };
  }

  hear(frame: AnswerFrame): void {
    if (frame.op !== 'presence') return;
    const { isAll = false, joined = [], left = [] } = frame;
    const change: PresenceChange = {
      isAll,
      joined: joined.map(({ name, at, data }) => ({ name, sinceMs: at, ...(data === undefined ? {} : { data }) })),
      left: left.map(({ name, at }) => ({ name, lastSeenMs: at })),
    };
    this.#take(change);
    if (this.members.size > MEMBERS_MAX) return this.#giveUp();
    this.#keep(change);
    this.#listeners.emit(change, this.#report);
  }

  ended(error: CarillonError | undefined): void {
    this.#readers.end(error);
  }

  [Symbol.asyncIterator](): AsyncIterator<PresenceChange, undefined> {
    this.#unread ??= this.members.size + this.lastSeen.size > 0 ? [this.#all()] : [];
    return {
      next: () => {
        const change = this.#unread?.shift();
        return change === undefined ? this.#readers.next() : Promise.resolve({ done: false, value: change });
      },
      return: () => {
        this.close();
        this.#unread = [];
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #take({ isAll, joined, left }: PresenceChange): void {
    if (isAll) {
      this.members.clear();
      this.lastSeen.clear();
    }
    for (const member of joined) {
      this.members.set(member.name, member);
      this.lastSeen.delete(member.name);
    }
    for (const { name, lastSeenMs } of left) {
      this.members.delete(name);
      this.lastSeen.delete(name); // so that they are in the order of their leaving
      this.lastSeen.set(name, lastSeenMs);
    }
    for (const name of this.lastSeen.keys()) {
      if (this.lastSeen.size <= MEMBERS_MAX) break;
      this.lastSeen.delete(name);
    }
  }

  #keep(change: PresenceChange): void {
    if (this.#unread === undefined || this.#readers.give(change)) return;
    if (this.#unread.length >= CHANGES_MAX) this.#unread = [this.#all()];
    else this.#unread.push(change);
  }

  #all(): PresenceChange {
    return { isAll: true, joined: [...this.members.values()], left: [...this.lastSeen].map(([name, lastSeenMs]) => ({ name, lastSeenMs })) };
  }

  #giveUp(): void {
    const error = new CarillonError('PRESENCE_EXCEEDED', `more than ${MEMBERS_MAX} in ${this.room}`);
    this.members.clear();
    this.#report(error);
    this.#readers.end(error);
    this.#request.close();
  }
}
