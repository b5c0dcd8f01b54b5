import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';

import type { EventLog } from '@carillon/log';
import type { Connection } from '@carillon/session';
import { formatControl } from '@carillon/wire';

import type { Workspaces } from '../workspaces.ts';

/**
 * A hub that stops says so first. From then on it refuses what peers of the second protocol publish (DRAINING: they send it
 * again), waits until what it took is stored, so that every ack is out, and then closes:
 *
 *   drain {afterMs} ──▶ appends settle, for about a second at most ──▶ 1012
 */
const SETTLE_LOOKS = 100;
const SETTLE_LOOK_MS = 10;

/** Tells every messenger and repeater of the second protocol when to come back; gives what each was told, in ms. */
export function tellDrain(workspaces: Workspaces, comeBackMs: () => number): ReadonlyMap<Connection, number> {
  const told = new Map<Connection, number>();
  for (const { peers } of workspaces.all()) {
    for (const connection of [...peers.messengers.keys(), ...peers.repeaters.keys()]) {
      if (connection.version !== 2) continue;
      const afterMs = Math.round(comeBackMs());
      told.set(connection, afterMs);
      connection.sendControl(formatControl({ op: 'drain', afterMs }));
    }
  }
  return told;
}

/** Resolves when everything that was appended is answered, or has taken too long: who publishes hears no ack then and sends it again. */
export async function whenSettled(log: Pick<EventLog, 'counts'>): Promise<void> {
  // Counted, not timed: a process that stood still meanwhile has had no chance.
  for (let looks = 0; log.counts.waitingBytes > 0 && looks < SETTLE_LOOKS; looks += 1) await sleep(SETTLE_LOOK_MS);
  // Acks of one turn are told at its end.
  await turn();
  await turn();
}
