import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

import type { Logger } from '@carillon/runtime';
import { Door, refuseUpgrade, type BatchWriter, type Connection, type ConnectionHandler, type DoorOptions, type Heartbeat } from '@carillon/session';
import { parseSubscriptionChange, type DropReason, type ErrorCode } from '@carillon/wire';

import { REPEATER_HEADER, repeaterHeaderValue } from './device-id.ts';
import type { Devices, JoinedAs } from './devices.ts';
import type { FramePaths } from './frame-paths.ts';
import { pathOf, readJoinPath } from './join-request.ts';
import type { LocalRooms } from './local-rooms.ts';
import type { RepeaterCounts } from './metrics.ts';
import { until } from './until.ts';

export interface DeviceDoorOptions extends DoorOptions {
  readonly ownId: string;
  readonly connectionsMax: number;
  readonly isPageAllowed: (headers: IncomingHttpHeaders) => boolean;
  readonly devices: Devices;
  readonly localRooms: LocalRooms;
  readonly paths: FramePaths;
  readonly writer: BatchWriter;
  readonly heartbeat: Heartbeat;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
  /** From 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
}

/** A stopping repeater sends its devices away for a time drawn from this range, so that they do not all come back at once. */
const COME_BACK_MIN_MS = 500;
const COME_BACK_MAX_MS = 5_000;

const DROPS: Partial<Record<ErrorCode, DropReason>> = { PEER_SLOW: 'peer-slow', PEER_STALLED: 'peer-slow', MEMORY_PRESSURE: 'memory-pressure' };

/** Where devices join, speak, and are sent away. */
export class DeviceDoor {
  readonly #options: DeviceDoorOptions;
  readonly #door: Door;
  readonly #handler: ConnectionHandler;
  #draining = false;

  constructor(options: DeviceDoorOptions) {
    this.#options = options;
    this.#door = new Door(options);
    this.#handler = {
      frame: (connection, bytes) => this.#frame(connection, bytes),
      text: (connection, text) => this.#text(connection, text),
      closed: (connection, { cause, droppedEvents }) => this.#closed(connection, cause, droppedEvents),
    };
  }

  /** Answers an HTTP upgrade. */
  upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    const join = this.#admit(request);
    if (!join.ok) {
      this.#options.counts.refuse(join.code);
      refuseUpgrade(stream, join.code, join.detail);
      return;
    }
    this.#door.accept(request, stream, head, {
      handler: this.#handler,
      joined: (connection) => this.#joined(connection, join.as),
      refused: (code) => this.#options.counts.refuse(code),
    });
  }

  /** Takes no more joins and closes every device with DRAINING and a hint; frames that are on their way are still taken. */
  async drain(signal: AbortSignal): Promise<void> {
    const { devices, random } = this.#options;
    this.#draining = true;
    for (const { connection } of devices) this.#sendAway(connection, 'DRAINING', COME_BACK_MIN_MS + random() * (COME_BACK_MAX_MS - COME_BACK_MIN_MS));
    await until(() => devices.size === 0, signal);
  }

  stop(): void {
    this.#draining = true;
    for (const { connection } of this.#options.devices) connection.terminate();
  }

  #admit(request: IncomingMessage): { readonly ok: true; readonly as: JoinedAs } | { readonly ok: false; readonly code: ErrorCode; readonly detail?: string } {
    const { isPageAllowed, connectionsMax, devices, limits, ownId } = this.#options;
    const join = readJoinPath(pathOf(request.url), limits.roomMaxBytes);
    if (!join.ok) return join;
    if (!isPageAllowed(request.headers)) return { ok: false, code: 'ORIGIN_REFUSED' };
    if (this.#draining) return { ok: false, code: 'DRAINING' };
    if (devices.size >= connectionsMax) return { ok: false, code: 'CONNECTIONS_EXCEEDED' };
    const repeater = request.headers[REPEATER_HEADER];
    // An address in the send list that leads back here would send every frame of the hub to the hub again.
    if (repeater === repeaterHeaderValue(ownId)) return { ok: false, code: 'LINK_TO_SELF', detail: 'this is the repeater that dials' };
    return { ok: true, as: { room: join.room, id: join.id, isRepeater: repeater !== undefined } };
  }

  #joined(connection: Connection, as: JoinedAs): void {
    const { devices, heartbeat, localRooms, log } = this.#options;
    const device = devices.add(connection, as);
    localRooms.join(connection.lane, device);
    heartbeat.watch(connection);
    log.debug({ device: device.id, room: device.room, remoteAddress: connection.remoteAddress }, 'a device joined');
  }

  #sendAway(connection: Connection, code: ErrorCode, retryAfterMs?: number): void {
    // Nothing may follow a close frame (RFC 6455 §5.5.1), and lanes do not know of closes.
    this.#options.localRooms.leave(connection.lane);
    this.#options.writer.flush();
    connection.refuse(code, retryAfterMs);
  }

  #frame(connection: Connection, bytes: Buffer): void {
    const { devices, log, paths } = this.#options;
    const device = devices.of(connection);
    if (device === undefined) return;
    const refusal = paths.up(bytes, 'device', connection.lane);
    if (refusal === undefined) return;
    log.info({ device: device.id, room: device.room, code: refusal }, 'a device sent a malformed frame');
    this.#sendAway(connection, refusal);
  }

  #text(connection: Connection, text: string): void {
    const { counts, devices, limits, localRooms, log } = this.#options;
    const device = devices.of(connection);
    if (device === undefined) return;
    const parsed = parseSubscriptionChange(text, limits);
    const refusal = parsed.ok ? localRooms.change(connection.lane, parsed.change) : parsed.code;
    if (refusal === undefined) return;
    // The connection lives, as in the original.
    counts.refuse(refusal);
    log.debug({ device: device.id, code: refusal, detail: parsed.ok ? undefined : parsed.detail }, 'a subscription change was refused');
  }

  #closed(connection: Connection, cause: ErrorCode | undefined, droppedEvents: number): void {
    const { counts, devices, heartbeat, localRooms, log } = this.#options;
    heartbeat.forget(connection);
    localRooms.leave(connection.lane);
    const device = devices.remove(connection);
    if (cause !== undefined) counts.refuse(cause);
    counts.drop((cause === undefined ? undefined : DROPS[cause]) ?? 'peer-gone', droppedEvents);
    log.debug({ device: device?.id, cause, droppedEvents }, 'a device left');
  }
}
