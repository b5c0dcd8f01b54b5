import { isErrorCode, parseControl, type ErrorCode, type WireLimits } from '@carillon/wire';

/** The code and detail of an error frame, by which a peer of ours refuses an event and stays; undefined for any other text. */
export function readErrorFrame(text: string, limits: WireLimits): { readonly code: ErrorCode; readonly detail: string | undefined } | undefined {
  const parsed = parseControl(text, limits);
  if (!parsed.ok || parsed.frame.op !== 'error' || !isErrorCode(parsed.frame.code)) return undefined;
  return { code: parsed.frame.code, detail: parsed.frame.detail };
}
