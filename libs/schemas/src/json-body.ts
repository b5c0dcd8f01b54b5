import { JSON_MAX_DEPTH, type ErrorCode } from '@carillon/wire';

/**
 * Reads a JSON body that came from outside. The nesting is checked by a scan before anything is parsed (JSON.parse
 * itself takes depth 100,000, whatever walks its result does not); `__proto__` keys are refused wherever they stand.
 * Codes: BODY_INVALID_UTF8, JSON_INVALID, JSON_TOO_DEEP, JSON_KEY_FORBIDDEN.
 */
export type JsonBody =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: Extract<ErrorCode, 'BODY_INVALID_UTF8' | 'JSON_INVALID' | 'JSON_TOO_DEEP' | 'JSON_KEY_FORBIDDEN'>; readonly detail: string };

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENERS = new Set([0x7b, 0x5b]);
const CLOSERS = new Set([0x7d, 0x5d]);

export function parseJsonBody(bytes: Uint8Array, maxDepth = JSON_MAX_DEPTH): JsonBody {
  if (isDeeperThan(bytes, maxDepth)) return { ok: false, code: 'JSON_TOO_DEEP', detail: `more than ${maxDepth} levels` };
  let text: string;
  try {
    text = strictUtf8.decode(bytes);
  } catch {
    return { ok: false, code: 'BODY_INVALID_UTF8', detail: 'the bytes do not decode' };
  }
  let forbidden = false;
  try {
    const value: unknown = JSON.parse(text, (key, member: unknown) => {
      if (key === '__proto__') forbidden = true;
      return member;
    });
    return forbidden ? { ok: false, code: 'JSON_KEY_FORBIDDEN', detail: '__proto__' } : { ok: true, value };
  } catch (error) {
    return { ok: false, code: 'JSON_INVALID', detail: error instanceof Error ? error.message.slice(0, 200) : 'not JSON' };
  }
}

/** Whether brackets outside strings nest deeper than a bound. Stops at the first that does. */
function isDeeperThan(bytes: Uint8Array, maxDepth: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] as number;
    if (inString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) {
      inString = true;
    } else if (OPENERS.has(byte)) {
      depth += 1;
      if (depth > maxDepth) return true;
    } else if (CLOSERS.has(byte)) {
      depth -= 1;
    }
  }
  return false;
}
