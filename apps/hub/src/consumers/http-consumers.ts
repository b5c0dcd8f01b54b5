import type { Principal } from '@carillon/access';
import type { ConsumerSpec } from '@carillon/log';

import { describeConsumers } from './describe-consumers.ts';
import type { WorkspaceCall, WorkspaceReply } from '../http/http-workspace-call.ts';

/** The durable consumers of a workspace over HTTP (`/consumers`): for a key that covers the rooms of one; for others it is not there. */
export const CONSUMERS_QUERY = ['after', 'limit'] as const;
const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1_000;
const LIMIT = /^[1-9][0-9]{0,3}$/;

/** Consumers by name; `after` is a name too. Codes: LOG_ABSENT, REQUEST_MALFORMED. */
export async function getConsumers({ workspace: { consumers }, principal, query }: WorkspaceCall): Promise<WorkspaceReply> {
  if (consumers === undefined) return { ok: false, code: 'LOG_ABSENT' };
  const { after = '', limit = `${LIMIT_DEFAULT}` } = Object.fromEntries(query);
  if (!LIMIT.test(limit) || Number(limit) > LIMIT_MAX) return { ok: false, code: 'REQUEST_MALFORMED', detail: `limit is 1 to ${LIMIT_MAX}` };
  const behind = (await consumers.specs()).filter((spec) => spec.name > after && coversAll(principal, spec));
  const page = behind.slice(0, Number(limit));
  const items = (await describeConsumers(page, consumers)).map(({ spec, ...info }) => ({ ...shown(spec), ...info }));
  const next = behind.length > page.length ? (page.at(-1)?.name ?? null) : null;
  return { ok: true, json: JSON.stringify({ items, next }) };
}

/** Its members are told; its dead letters stay. Codes: LOG_ABSENT, CONSUMER_UNKNOWN. */
export async function deleteConsumer({ workspace: { consumers }, principal, args: [name = ''] }: WorkspaceCall): Promise<WorkspaceReply> {
  if (consumers === undefined) return { ok: false, code: 'LOG_ABSENT' };
  const spec = (await consumers.specs()).find((each) => each.name === name);
  if (spec === undefined || !coversAll(principal, spec)) return { ok: false, code: 'CONSUMER_UNKNOWN' };
  await consumers.delete(name);
  return { ok: true, json: undefined };
}

function shown({ name, rooms, ackTimeoutMs, maxDeliveries, maxInFlight }: ConsumerSpec): object {
  return { name, rooms, ackTimeoutMs, maxDeliveries, maxInFlight };
}

function coversAll({ permissions }: Principal, { rooms }: ConsumerSpec): boolean {
  return rooms.every((room) => permissions.covers('receive', room));
}
