import { readRoomEvent } from '@carillon/schemas';
import { encodeFrame, roomFault } from '@carillon/wire';

import { findTailStart } from '../durable/tail-start.ts';
import { readPresence } from '../presence/http-presence.ts';
import { busyCode, queryOf, readBody, refuse, requireReadable, send, sendJson, type Call, type HttpOptions } from './http-call.ts';
import { HISTORY_QUERY, readHistory } from './http-history.ts';
import { publishBody } from './http-publish.ts';

/** Publishing, following and looking back, and who is in a room. */
export async function postEvent(options: HttpOptions, call: Call): Promise<void> {
  const { res, caller } = call;
  const body = await readBody(options, call);
  if (body === undefined) return;
  const read = readRoomEvent(body);
  if (!read.ok) {
    refuse(options, res, read);
    return;
  }
  const fault = roomFault(read.room, options.limits.roomMaxBytes);
  if (fault !== undefined) {
    refuse(options, res, { code: 'ROOM_NAME_INVALID', detail: `affected-room.roomID is ${fault}` });
    return;
  }
  const bytes = Buffer.from(encodeFrame(read.room, body).buffer);
  const tagEnd = Buffer.byteLength(read.room);
  const { intake, router, trail } = call.workspace();
  const refusal = intake.refusal(caller.principal, { room: read.room, bytes, bodyAt: tagEnd + 1 });
  if (refusal !== undefined) {
    const refused = { id: router.nextId(), room: read.room, code: refusal.code };
    trail.note(caller.principal.workspaceId, { kind: 'refused', ...refused });
    options.log.debug(refused, 'event refused');
    refuse(options, res, refusal);
    return;
  }
  options.counts.take('http', bytes.length);
  router.fromMessenger(read.room, { bytes, roomEnd: tagEnd, tagEnd, fields: '', source: undefined, order: 0 });
  res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  res.end('Processing event');
}

export async function postEvents(options: HttpOptions, call: Call): Promise<void> {
  const { req, res, caller, workspace } = call;
  const { admission, counts, limits } = options;
  const query = queryOf(call, ['room', 'delay']);
  const room = query.get('room');
  const delayMs = readDelay(query.get('delay'));
  if (delayMs === undefined) {
    refuse(options, res, { code: 'DELAY_INVALID', detail: 'delay is a whole number of milliseconds' });
    return;
  }
  const body = await readBody(options, call);
  if (body === undefined) return;
  const reply = await publishBody({ headers: req.headers, room, body }, { caller, workspace, counts, limits, delayMs, recheck: () => admission.recheck(caller) });
  switch (reply.kind) {
    case 'refused':
      return refuse(options, res, reply.refusal);
    case 'stored':
      return sendJson(res, reply.event);
    case 'batch':
      // In the head: whoever has sent thousands need not look at each line.
      res.setHeader('carillon-failed', reply.failed);
      return send(res, reply.lines, 'application/x-ndjson');
    default:
      return reply satisfies never;
  }
}

function readDelay(text = '0'): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

export async function getRoomEvents(options: HttpOptions, call: Call): Promise<void> {
  const { req, res, args: [pattern = ''], caller, workspace } = call;
  requireReadable(options, pattern);
  const asked = { since: queryOf(call, ['since']).get('since'), lastEventId: req.headers['last-event-id']?.toString() };
  const { durable, turns } = workspace();
  const start = await findTailStart(asked, { pattern, principal: caller.principal, durable, turns });
  // Nobody would hear that it is closed.
  if (res.destroyed) return;
  const ended = options.admission.recheck(caller) ?? busyCode(options);
  if (ended !== undefined) return refuse(options, res, { code: ended });
  if (!start.ok) return refuse(options, res, start);
  const refused = workspace().tails.open({ pattern, caller, response: res, from: start.from });
  if (refused !== undefined) refuse(options, res, { code: refused });
}

export async function getRoomHistory(options: HttpOptions, call: Call): Promise<void> {
  const { res, args: [pattern = ''], caller, workspace } = call;
  requireReadable(options, pattern);
  const { durable, turns } = workspace();
  const reply = await readHistory(queryOf(call, HISTORY_QUERY), { pattern, principal: caller.principal, durable, turns });
  const ended = options.admission.recheck(caller);
  if (ended !== undefined) refuse(options, res, { code: ended });
  else if (reply.ok) send(res, reply.json, 'application/json');
  else refuse(options, res, reply);
}

export async function getRoomPresence(options: HttpOptions, call: Call): Promise<void> {
  const { res, args: [room = ''], caller, workspace } = call;
  const busy = busyCode(options);
  if (busy !== undefined) return refuse(options, res, { code: busy });
  const reply = await readPresence({ room, after: queryOf(call, ['after']).get('after') ?? '', principal: caller.principal, presence: workspace().presence, limits: options.limits });
  const ended = options.admission.recheck(caller);
  if (ended !== undefined) refuse(options, res, { code: ended });
  else if (reply.ok) send(res, reply.json, 'application/json');
  else refuse(options, res, reply);
}
