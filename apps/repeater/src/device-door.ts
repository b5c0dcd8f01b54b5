import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

import { presentedKey, type AccessChange, type Principal } from '@carillon/access';
import type { Logger } from '@carillon/runtime';
import { Door, refuseUpgrade, type BatchWriter, type Connection, type ConnectionHandler, type DoorOptions, type Heartbeat } from '@carillon/session';
import { ERRORS, formatControl, parseSubscriptionChange, type DropReason, type ErrorCode, type ErrorEntry } from '@carillon/wire';

import { REPEATER_HEADER, repeaterHeaderValue } from './device-id.ts';
import type { Devices, JoinedAs } from './devices.ts';
import type { FramePaths } from './frame-paths.ts';
import { endOf, type Gate } from './gate.ts';
import { pathOf, readJoinPath } from './join-request.ts';
import type { LocalRooms } from './local-rooms.ts';
import type { RepeaterCounts } from './metrics.ts';
import { until } from './until.ts';

export interface DeviceDoorOptions extends DoorOptions {
  readonly ownId: string;
  readonly connectionsMax: number;
  readonly gate: Gate;
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

type Admitted = { readonly ok: true; readonly as: JoinedAs } | { readonly ok: false; readonly code: ErrorCode; readonly detail?: string };

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
    let isJoined = false;
    this.#door.accept(request, stream, head, {
      handler: this.#handler,
      joined: (connection) => {
        isJoined = true;
        this.#joined(connection, join.as);
      },
      refused: (code) => this.#options.counts.refuse(code),
    });
    // A handshake that comes to nothing does so before `accept` returns, sometimes without a word.
    if (!isJoined) join.as.principal.meter.disconnect();
  }

  /** Puts a change of keys, permissions or the workspace in force for those who have joined. */
  accessChanged(change: AccessChange): void {
    const { devices, gate, localRooms } = this.#options;
    if (change.type === 'principal') {
      localRooms.permissionsChanged();
      for (const device of devices) {
        const code = device.principal === change.principal ? endOf(device.principal, device.secret) : undefined;
        if (code !== undefined) this.#end(device.connection, code);
      }
    } else if (change.type === 'workspace') {
      for (const device of devices) if (device.isAnonymous && !gate.isAnonymous(device.principal)) this.#end(device.connection, 'ACCESS_KEY_REQUIRED');
    }
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

  #admit(request: IncomingMessage): Admitted {
    const { connectionsMax, devices, gate, limits, ownId } = this.#options;
    const presented = presentedKey(request);
    if (!presented.ok) return presented;
    const join = readJoinPath(pathOf(presented.url), limits.roomMaxBytes);
    if (!join.ok) return join;
    if (this.#draining) return { ok: false, code: 'DRAINING' };
    if (devices.size >= connectionsMax) return { ok: false, code: 'CONNECTIONS_EXCEEDED' };
    const repeater = request.headers[REPEATER_HEADER];
    // An address in the send list that leads back here would send every frame of the hub to the hub again.
    if (repeater === repeaterHeaderValue(ownId)) return { ok: false, code: 'LINK_TO_SELF', detail: 'this is the repeater that dials' };
    const isRepeater = repeater !== undefined;
    const admission = gate.admit(presented, request);
    if (!admission.ok) return admission;
    const { isAnonymous, principal, secret } = admission;
    // The room another repeater joins with is that of its first frame and of no consequence: it is no member of it.
    if (!isRepeater && hasNoPartIn(join.room, principal)) return { ok: false, code: 'RECEIVE_DENIED', detail: join.room };
    const refusal = principal.meter.connect();
    if (refusal !== undefined) return { ok: false, code: refusal };
    return { ok: true, as: { room: join.room, id: join.id, isRepeater, principal, isAnonymous, secret } };
  }

  #joined(connection: Connection, as: JoinedAs): void {
    const { devices, heartbeat, localRooms, log } = this.#options;
    const device = devices.add(connection, as);
    localRooms.join(device);
    heartbeat.watch(connection);
    log.debug({ device: device.id, room: device.room, keyId: device.principal.keyId, remoteAddress: connection.remoteAddress }, 'a device joined');
  }

  #sendAway(connection: Connection, code: ErrorCode, retryAfterMs?: number): void {
    // Nothing may follow a close frame (RFC 6455 §5.5.1), and lanes do not know of closes.
    this.#options.localRooms.leave(connection.lane);
    this.#options.writer.flush();
    connection.refuse(code, retryAfterMs);
  }

  /** Its right to be here has ended: what waits for it is not its any more. */
  #end(connection: Connection, code: ErrorCode): void {
    const { counts, localRooms } = this.#options;
    localRooms.leave(connection.lane);
    counts.drop('peer-gone', connection.lane.close());
    connection.refuse(code);
  }

  #frame(connection: Connection, bytes: Buffer): void {
    const { devices, log, paths } = this.#options;
    const device = devices.of(connection);
    if (device === undefined) return;
    const taken = paths.up(bytes, { from: 'device', sender: device.principal, lane: connection.lane });
    if (taken.ok) {
      // A device of the first protocol hears of what is not kept, and of nothing else.
      void taken.kept.then((code) => code !== undefined && this.#tell(connection, code, undefined));
      return;
    }
    const { code, detail } = taken;
    if (isSurvived(code)) {
      this.#tell(connection, code, detail);
      log.debug({ device: device.id, code, detail }, 'a frame of a device was refused');
      return;
    }
    log.info({ device: device.id, room: device.room, code }, 'a device sent a malformed frame');
    this.#sendAway(connection, code);
  }

  /** Refuses something and leaves the connection be; originals ignore text. */
  #tell(connection: Connection, code: ErrorCode, detail: string | undefined): void {
    this.#options.counts.refuse(code);
    connection.sendText(formatControl({ op: 'error', code, ...(detail === undefined ? {} : { detail }) }));
  }

  #text(connection: Connection, text: string): void {
    const { counts, devices, limits, localRooms, log } = this.#options;
    const device = devices.of(connection);
    if (device === undefined) return;
    const parsed = parseSubscriptionChange(text, limits);
    if (!parsed.ok) {
      // The connection lives, as in the original.
      counts.refuse(parsed.code);
      log.debug({ device: device.id, code: parsed.code, detail: parsed.detail }, 'a subscription change was refused');
      return;
    }
    for (const [code, pattern] of localRooms.change(connection.lane, parsed.change)) {
      this.#tell(connection, code, pattern);
      log.debug({ device: device.id, code, pattern }, 'a subscription was refused');
    }
  }

  #closed(connection: Connection, cause: ErrorCode | undefined, droppedEvents: number): void {
    const { counts, devices, heartbeat, localRooms, log } = this.#options;
    heartbeat.forget(connection);
    localRooms.leave(connection.lane);
    const device = devices.remove(connection);
    device?.principal.meter.disconnect();
    if (cause !== undefined) counts.refuse(cause);
    counts.drop((cause === undefined ? undefined : DROPS[cause]) ?? 'peer-gone', droppedEvents);
    log.debug({ device: device?.id, cause, droppedEvents }, 'a device left');
  }
}

/** Whether a connection outlives a refusal: those that end it have a number to close it with. */
function isSurvived(code: ErrorCode): boolean {
  const { close }: ErrorEntry = ERRORS[code];
  return close === undefined;
}

function hasNoPartIn(room: string, { permissions }: Principal): boolean {
  return permissions.decide('send', room) === 'deny' && permissions.decide('receive', room) === 'deny';
}
