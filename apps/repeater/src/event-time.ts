/** The header in which a program says when its event happened. */
export const EVENT_TIME_HEADER = 'carillon-event-time';
/** What it takes, for whoever sent something else. */
export const EVENT_TIME_FORMS = 'ms since 1970, or RFC 3339 with seconds and an offset, from 1970 on';

const WHOLE = /^(?:0|[1-9][0-9]{0,15})$/;
// A date alone would leave open whose midnight is meant.
const TIME = /^(\d{4})-(\d\d)-(\d\d)T\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** Reads it as ms since 1970, what is below a millisecond cut off; undefined: nothing was said. A header that came twice is malformed. */
export function readEventTime(header: string | readonly string[] | undefined): number | 'malformed' | undefined {
  if (header === undefined) return undefined;
  if (typeof header !== 'string') return 'malformed';
  const ms = WHOLE.test(header) ? Number(header) : readTime(header);
  return Number.isSafeInteger(ms) && ms >= 0 ? ms : 'malformed';
}

/** NaN for what is no time; `Date.parse` alone takes the 30th of February for a day in March. */
function readTime(text: string): number {
  const [, year, month, day] = (TIME.exec(text) ?? []).map(Number);
  if (year === undefined || month === undefined || day === undefined) return Number.NaN;
  return new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day ? Date.parse(text) : Number.NaN;
}
