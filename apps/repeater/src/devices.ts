import type { Principal } from '@carillon/access';
import { createRoute, type Connection, type Route } from '@carillon/session';

/** A device or service that joined over a connection it opened. */
export interface Device {
  /** The id it joined with, or `id:1`, `id:2`, … when that one was taken. */
  readonly id: string;
  readonly room: string;
  readonly isRepeater: boolean;
  /** Whose permissions and limits hold for it. */
  readonly principal: Principal;
  /** It presented no key and stands under its workspace's anonymous one. */
  readonly isAnonymous: boolean;
  /** The hash of the secret that it presented. */
  readonly secret: string | undefined;
  readonly connection: Connection;
  /** Leads to this device alone. */
  readonly route: Route;
}

export type JoinedAs = Pick<Device, 'id' | 'room' | 'isRepeater' | 'principal' | 'isAnonymous' | 'secret'>;

/** The joined devices, by id and by connection. */
export class Devices {
  readonly #byId = new Map<string, Device>();
  readonly #byConnection = new Map<Connection, Device>();

  get size(): number {
    return this.#byConnection.size;
  }

  add(connection: Connection, as: JoinedAs): Device {
    const device: Device = { ...as, id: this.#freeId(as.id), connection, route: createRoute([connection.lane]) };
    this.#byId.set(device.id, device);
    this.#byConnection.set(connection, device);
    return device;
  }

  remove(connection: Connection): Device | undefined {
    const device = this.#byConnection.get(connection);
    if (device === undefined) return undefined;
    this.#byConnection.delete(connection);
    this.#byId.delete(device.id);
    return device;
  }

  byId(id: string): Device | undefined {
    return this.#byId.get(id);
  }

  of(connection: Connection): Device | undefined {
    return this.#byConnection.get(connection);
  }

  [Symbol.iterator](): IterableIterator<Device> {
    return this.#byConnection.values();
  }

  #freeId(id: string): string {
    if (!this.#byId.has(id)) return id;
    let copy = 1;
    while (this.#byId.has(`${id}:${copy}`)) copy += 1;
    return `${id}:${copy}`;
  }
}
