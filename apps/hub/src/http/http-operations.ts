import type { ServerResponse } from 'node:http';

import { LOG_LEVELS, type LogLevel } from '@carillon/runtime';
import { DEFAULT_WORKSPACE_ID } from '@carillon/schemas';

import type { Caller } from '../access/holders.ts';
import { busyCode, readBody, refuse, sendJson, type Call, type HttpOptions, type Request } from './http-call.ts';
import { readLinkRequest } from './link-request.ts';

/** What other parts of the system and those who run it ask of a hub. */
export function getAccessFeed(options: HttpOptions, { res, caller }: Call): void {
  const busy = busyCode(options);
  const refused = busy ?? options.relay.open(res, caller);
  if (refused !== undefined) refuse(options, res, { code: refused });
}

export async function postInterconnect(options: HttpOptions, call: Call): Promise<void> {
  const body = await readBody(options, call);
  if (body === undefined) return;
  const request = readLinkRequest(body);
  if (!request.ok) {
    refuse(options, call.res, request);
    return;
  }
  sendJson(call.res, await call.workspace().links.add(call.args[0] ?? '', { caller: call.caller, accessKey: request.accessKey }));
}

export async function deleteInterconnect(_options: HttpOptions, { res, args: [address = ''], workspace }: Call): Promise<void> {
  await workspace().links.remove(address);
  res.writeHead(204);
  res.end();
}

/** A 426 says what to upgrade to (RFC 9110 §15.5.22). */
export function refuseWithoutUpgrade(options: HttpOptions, { res }: Request): void {
  res.setHeader('upgrade', 'websocket');
  res.setHeader('connection', 'upgrade');
  refuse(options, res, { code: 'UPGRADE_REQUIRED' });
}

export function getLogLevel(options: HttpOptions, { res, caller }: Call): void {
  if (mayTurnLog(options, res, caller)) sendJson(res, { 'log-level': options.log.level });
}

export function putLogLevel(options: HttpOptions, { res, args: [level = ''], caller }: Call): void {
  if (!mayTurnLog(options, res, caller)) return;
  if (!(LOG_LEVELS as readonly string[]).includes(level)) {
    refuse(options, res, { code: 'LOG_LEVEL_INVALID', detail: `one of ${LOG_LEVELS.join(', ')}` });
    return;
  }
  options.log.level = level as LogLevel;
  sendJson(res, { 'log-level': level });
}

/** The log is the whole hub's: keys of other workspaces than `default` have nothing to do with it. */
function mayTurnLog(options: HttpOptions, res: ServerResponse, { principal }: Caller): boolean {
  if (principal.workspaceId === DEFAULT_WORKSPACE_ID) return true;
  refuse(options, res, { code: 'ACCESS_KIND_REFUSED', detail: 'only a key of workspace default' });
  return false;
}
