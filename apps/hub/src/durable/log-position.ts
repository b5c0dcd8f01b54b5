import type { Since } from '@carillon/wire';

/**
 * Positions in the log as addresses and headers write them:
 *
 *   lz3k-0a1b2c-1041            a place: the log's epoch and a sequence; what `id:` of an event stream shows
 *   seq:1041                    a sequence of whichever log is there
 *   at:1795608000000            a time, ms since 1970; also at:2026-11-21T12:00:00Z
 *   last:100                    so many events before now
 */
export interface LogPosition {
  readonly seq: number;
  /** None: of whichever log is there. */
  readonly epoch?: string;
}

// No epoch ends in a hyphen: `lz3k-0a1b2c--5` is a negative sequence, not a place of another log.
const PLACE = /^(?:([0-9A-Za-z](?:[\w-]{0,126}\w)?)-)?(0|[1-9][0-9]{0,15})$/;
const WHOLE = /^(?:0|[1-9][0-9]{0,15})$/;
// RFC 3339 with seconds; a date alone would leave open whose midnight is meant.
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** What `readSince` takes, for whoever sent something else. */
export const SINCE_FORMS = 'a place (EPOCH-SEQ), seq:N, at:TIME (ms since 1970, or RFC 3339), or last:N';

/** How a position is shown. */
export function formatPlace(epoch: string, seq: number): string {
  return `${epoch}-${seq}`;
}

/** Reads a place or a plain sequence; undefined: it is neither. */
export function readPosition(text: string): LogPosition | undefined {
  const [, epoch, digits = ''] = PLACE.exec(text) ?? [];
  const seq = whole(digits);
  if (seq === undefined) return undefined;
  return epoch === undefined ? { seq } : { seq, epoch };
}

/** Reads where a reader wants to begin; undefined: it is none of the forms. */
export function readSince(text: string): Since | undefined {
  const colon = text.indexOf(':');
  if (colon === -1) return readPlace(text);
  const value = text.slice(colon + 1);
  const number = whole(value);
  switch (text.slice(0, colon)) {
    case 'seq':
      return number === undefined ? undefined : { seq: number };
    case 'last':
      return number === undefined ? undefined : { last: number };
    case 'at': {
      const at = number ?? readTime(value);
      return at === undefined ? undefined : { at };
    }
    default:
      return undefined;
  }
}

/** Reads a place, which names its log; undefined: it does not. */
export function readPlace(text: string): { readonly seq: number; readonly epoch: string } | undefined {
  const position = readPosition(text);
  return position?.epoch === undefined ? undefined : { seq: position.seq, epoch: position.epoch };
}

/** A `+` before the offset arrives as a space when it was not percent-encoded. */
function readTime(text: string): number | undefined {
  const time = text.replace(' ', '+');
  const ms = TIME.test(time) ? Date.parse(time) : Number.NaN;
  return ms >= 0 ? ms : undefined;
}

function whole(text: string): number | undefined {
  const value = Number(text);
  return WHOLE.test(text) && Number.isSafeInteger(value) ? value : undefined;
}
