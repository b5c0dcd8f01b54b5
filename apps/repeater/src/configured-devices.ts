import type { DeviceEntry } from '@carillon/schemas';
import { roomFault } from '@carillon/wire';

import { readTarget, type Target } from './send-list.ts';

/** The devices of the configuration that are this repeater's to serve, as targets by room; and those that cannot be. */
export interface ConfiguredDevices {
  readonly targets: ReadonlyMap<string, readonly Target[]>;
  readonly unusable: readonly { readonly device: string; readonly reason: string }[];
}

/** Picks the enabled devices of a repeater. A ws or wss address becomes a socket target, an http or https one an HTTP target. */
export function configuredDevices(devices: readonly DeviceEntry[], repeater: string): ConfiguredDevices {
  const targets = new Map<string, Target[]>();
  const unusable: { device: string; reason: string }[] = [];
  for (const { address, enabled, id, repeater: of, room } of devices) {
    if (!enabled || of !== repeater) continue;
    const target = readTarget(address);
    const fault = roomFault(room);
    if (fault !== undefined) unusable.push({ device: id, reason: `its room is no room name (${fault})` });
    else if (typeof target === 'string' || target.kind === 'device') unusable.push({ device: id, reason: 'its address is no ws, wss, http or https URL' });
    else targets.set(room, [...(targets.get(room) ?? []), target]);
  }
  return { targets, unusable };
}
