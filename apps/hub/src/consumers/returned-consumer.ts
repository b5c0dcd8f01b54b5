import { createHash } from 'node:crypto';

import type { ConsumerSpec } from '@carillon/log';

import { returnedRoom } from './returned-events.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';

/**
 * Beside each consumer of a workspace stands one of the log of returned events, with the same settings: what comes again to that
 * consumer alone, redriven or put off, is owed to it there. It is made with the consumer's first member, before anything is
 * delivered, and begins at the end of the log as it is then. No two consumers that had one name begin at the same place: what
 * one gave up lies between. So that place is the consumer's generation.
 */
export function returnedSpec(spec: ConsumerSpec, head: number): ConsumerSpec {
  const { workspaceId, name, ackTimeoutMs, maxDeliveries, maxInFlight } = spec;
  return {
    workspaceId: SYSTEM_WORKSPACES.returned, name: returnedName(workspaceId, name), rooms: [returnedRoom({ workspaceId, consumer: name })],
    from: { seq: head }, ackTimeoutMs, maxDeliveries, maxInFlight,
  };
}

/** A name is as long as a name may be: both together take a hash. */
export const returnedName = (workspaceId: string, name: string): string => createHash('sha256').update(`${workspaceId}/${name}`).digest('base64url');

/** Of a spec as the log has it. */
export const generationOf = ({ from }: ConsumerSpec): number => (typeof from === 'object' && 'seq' in from ? from.seq : 0);

/** Whether it stands beside a consumer of this workspace. */
export const isReturnedOf = ({ rooms }: ConsumerSpec, workspaceId: string): boolean => rooms.every((room) => room.startsWith(`${workspaceId}/`));
