import { mayComeBack, parseCloseReason, type ErrorCode } from '@carillon/wire';
import type { TransportClosed } from './transport.ts';

/** What the end of a connection means: try again (no sooner than so many milliseconds from now), or never. */
export type Loss =
  | { readonly kind: 'lost'; readonly code: ErrorCode; readonly detail: string; readonly retryAfterMs: number; /** The hub ignored the offer of the second protocol, or perhaps did. */ readonly offer?: 'ignored' | 'perhaps-ignored' }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string };

const CODES: Readonly<Record<number, ErrorCode>> = {
  1002: 'FRAME_MALFORMED',
  1003: 'TEXT_UNEXPECTED',
  1007: 'TEXT_INVALID_UTF8',
  1009: 'FRAME_TOO_LARGE',
  1011: 'INTERNAL',
  1012: 'DRAINING',
  1013: 'OVERLOADED',
};

/** Reads the hub's code and hint from a close, and falls back on what the number says. */
export function judgeClose(closed: TransportClosed): Loss {
  const reason = parseCloseReason(closed.reason);
  const detail = closed.detail ?? `the connection was closed with ${closed.closeCode}${closed.reason === '' ? '' : ` (${closed.reason})`}`;
  const code = reason.code ?? closed.code ?? CODES[closed.closeCode];
  if (!mayComeBack(closed.closeCode)) return { kind: 'refused', code: code ?? 'REFUSED_FOR_GOOD', detail };
  return { kind: 'lost', code: code ?? 'LINK_UNREACHABLE', detail, retryAfterMs: reason.retryAfterMs ?? closed.retryAfterMs ?? 0 };
}
