import { eventNameOf } from '@carillon/access';
import type { BatchWriter, Lane, OutboundEvent } from '@carillon/session';

import type { Device, Devices } from './devices.ts';
import { HttpTarget, type HttpTargetOptions } from './http-target.ts';
import type { RepeaterCounts } from './metrics.ts';
import type { SendList, Target } from './send-list.ts';
import { SocketTarget, type SocketTargetOptions } from './socket-target.ts';

export interface TargetsOptions {
  readonly list: SendList;
  readonly devices: Devices;
  readonly writer: BatchWriter;
  readonly counts: RepeaterCounts;
  readonly socket: SocketTargetOptions;
  readonly http: HttpTargetOptions;
}

/** Gives the hub's frames to the targets of their room. Targets are made when first needed and kept while the list names them. */
export class Targets {
  readonly #options: TargetsOptions;
  /** By address: a device id and a URL that lead to the same place share one connection. */
  readonly #sockets = new Map<string, SocketTarget>();
  readonly #https = new Map<string, HttpTarget>();
  readonly #leaving = new Set<Promise<void>>();
  #list: SendList;

  constructor(options: TargetsOptions) {
    this.#options = options;
    this.#list = options.list;
  }

  get queuedBytes(): number {
    return [...this.#sockets.values(), ...this.#https.values()].reduce((sum, target) => sum + target.queuedBytes, 0);
  }

  /** Connections this repeater opened, by address, for status. */
  *connections(): Generator<readonly [string, NonNullable<SocketTarget['connection']>]> {
    for (const [address, { connection }] of this.#sockets) if (connection !== undefined) yield [address, connection];
  }

  /** Gives an event to each target of its room once; lanes that got it already are passed over. */
  deliver(room: string, event: OutboundEvent, served: readonly Lane[]): void {
    const { counts } = this.#options;
    const sockets = new Set<SocketTarget>();
    for (const target of this.#list.targetsOf(room)) {
      if (target.kind === 'http') {
        this.#http(target.url).deliver(event);
      } else if (target.kind === 'socket' || !this.#deliverToDevice(target.id, { room, event, served })) {
        const address = this.#addressOf(target);
        if (address === undefined) counts.fail('device', 'target-failed', 1);
        else sockets.add(this.#socket(address));
      }
    }
    for (const socket of sockets) socket.deliver(room, event);
  }

  /** Puts another list in force; targets it no longer names are let go with what waits for them. */
  replace(list: SendList): void {
    this.#list = list;
    const named = new Set(list.targets.flatMap((target) => target.kind === 'http' ? target.url : (this.#addressOf(target) ?? [])));
    for (const targets of [this.#sockets, this.#https]) {
      for (const [address, target] of targets) {
        if (named.has(address)) continue;
        targets.delete(address);
        const left = target.stop().finally(() => this.#leaving.delete(left));
        this.#leaving.add(left);
      }
    }
  }

  async drain(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#sockets.values(), ...this.#https.values()].map((target) => target.drain(signal)));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#leaving, ...[...this.#sockets.values(), ...this.#https.values()].map((target) => target.stop())]);
  }

  /** Gives an event to a device if it has joined. An id is whoever's who joins with it first: what its key may receive it gets, and no more. */
  #deliverToDevice(id: string, { room, event, served }: { readonly room: string; readonly event: OutboundEvent; readonly served: readonly Lane[] }): boolean {
    const { devices, writer, counts } = this.#options;
    const device = devices.byId(id);
    if (device === undefined || !device.connection.isOpen) return false;
    if (!mayReceive(device, room, event)) {
      counts.drop('denied', 1);
      return true;
    }
    if (!served.includes(device.connection.lane)) writer.add(event, device.route);
    counts.delivered.add('device');
    return true;
  }

  #addressOf(target: Exclude<Target, { kind: 'http' }>): string | undefined {
    return target.kind === 'device' ? this.#list.addressOf(target.id) : target.url;
  }

  #socket(address: string): SocketTarget {
    let target = this.#sockets.get(address);
    if (target === undefined) this.#sockets.set(address, (target = new SocketTarget(address, this.#options.socket)));
    return target;
  }

  #http(url: string): HttpTarget {
    let target = this.#https.get(url);
    if (target === undefined) this.#https.set(url, (target = new HttpTarget(url, this.#options.http)));
    return target;
  }
}

function mayReceive({ principal: { permissions } }: Device, room: string, event: OutboundEvent): boolean {
  const decision = permissions.decide('receive', room);
  return decision === 'allow' || (decision === 'by-event' && permissions.allows('receive', room, eventNameOf(event.bytes.subarray(event.tagEnd + 1))));
}
