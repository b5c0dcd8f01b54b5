import { isErrorCode, type ErrorCode } from './errors.ts';

/**
 * What a close frame says besides its number, in at most 123 bytes (RFC 6455 §5.5): `CODE`, or `CODE retry-after-ms=N`
 * when the peer should come back no sooner than N milliseconds from now.
 */
export interface CloseReason {
  readonly code: ErrorCode | undefined;
  readonly retryAfterMs: number | undefined;
}

const REASON = /^([A-Z][A-Z0-9_]{2,60})(?: retry-after-ms=([0-9]{1,9}))?$/;

export function formatCloseReason(code: ErrorCode, retryAfterMs?: number): string {
  return retryAfterMs === undefined ? code : `${code} retry-after-ms=${Math.round(retryAfterMs)}`;
}

/** Reads a reason of ours; anything else (an original's free text) has neither code nor hint. */
export function parseCloseReason(text: string): CloseReason {
  const match = REASON.exec(text);
  const code = match?.[1];
  if (code === undefined || !isErrorCode(code)) return { code: undefined, retryAfterMs: undefined };
  return { code, retryAfterMs: match?.[2] === undefined ? undefined : Number(match[2]) };
}

/** Whether a peer that was closed with this number should connect again. */
export function mayComeBack(closeCode: number): boolean {
  if (closeCode >= 4500 && closeCode <= 4999) return false;
  return closeCode !== 1002 && closeCode !== 1003 && closeCode !== 1007 && closeCode !== 1008 && closeCode !== 1009;
}

/** The WebSocket subprotocol that stands for v2. */
export const SUBPROTOCOL_V2 = 'carillon.2';
