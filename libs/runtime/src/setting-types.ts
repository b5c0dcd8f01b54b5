import { z } from 'zod';

import { parseListenAddress, type ListenAddress } from './listen-address.ts';
import { LOG_LEVELS, type LogLevel } from './log.ts';

/** The least and the greatest value allowed, both included. */
export interface Range {
  readonly min?: number;
  readonly max?: number;
}

type Parsed<T> = { readonly value: T } | { readonly fault: string };

/** A longer timer overflows Node's 32-bit signed delay and fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const TEXT_MAX_CHARACTERS = 4_096;
const BYTE_UNITS: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

// Messages complete the sentence "CARILLON_X …" and never quote the value, which may be a secret: `loadConfig` does where it may.

/** `host:port` → `ListenAddress`; IPv6 in brackets, no empty host, port 0 for one chosen by the system. */
export const listenAddress: z.ZodType<ListenAddress, string> = fromText('host:port', (text) => {
  const result = parseListenAddress(text);
  return result.ok ? { value: result.address } : { fault: result.reason };
});

/** `true` or `false` → boolean. */
export const flag: z.ZodType<boolean, string> = fromText('true or false', (text) =>
  text === 'true' ? { value: true } : text === 'false' ? { value: false } : { fault: 'must be true or false' });

/** Texts between commas → list, spaces around them removed; an empty one is refused, but no text at all (as in `default: ''`) is the empty list. */
export const commaList: z.ZodType<readonly string[], string> = fromText('comma list', (text) => {
  if (text === '') return { value: [] };
  const items = text.split(',').map((item) => item.trim());
  return items.includes('') ? { fault: 'must be texts separated by commas, none of them empty' } : { value: items };
});

/** One of the log levels. */
export const logLevel: z.ZodType<LogLevel, string> = oneOf(LOG_LEVELS);

/** A whole number within the range; default 0 to 2^53 − 1. */
export function integer(range: Range = {}): z.ZodType<number, string> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = range;
  return fromText(`whole number, ${rangeText({ min, max })}`, (text) =>
    /^-?\d+$/.test(text) ? within(Number(text), { min, max }) : { fault: 'must be a whole number' });
}

/** A number of bytes, plain or with KiB, MiB or GiB behind it; default 0 to 2^53 − 1. */
export function bytes(range: Range = {}): z.ZodType<number, string> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = range;
  return fromText(`bytes (KiB, MiB, GiB allowed), ${rangeText({ min, max })}`, (text) => {
    const [, digits, unit] = /^(\d+) ?(KiB|MiB|GiB)?$/.exec(text) ?? [];
    if (digits === undefined) return { fault: 'must be a whole number of bytes, or of KiB, MiB or GiB as in 64MiB' };
    return within(Number(digits) * (unit === undefined ? 1 : (BYTE_UNITS[unit] ?? 1)), { min, max });
  });
}

/** A whole number of milliseconds; default 0 to 2^31 − 1, the longest timer there is. */
export function durationMs(range: Range = {}): z.ZodType<number, string> {
  const { min = 0, max = MAX_TIMER_MS } = range;
  return fromText(`milliseconds, ${rangeText({ min, max })}`, (text) =>
    /^\d+$/.test(text) ? within(Number(text), { min, max }) : { fault: 'must be a whole number of milliseconds' });
}

/** One of the words, exactly as written. */
export function oneOf<const T extends string>(words: readonly T[]): z.ZodType<T, string> {
  return fromText(words.join(' | '), (text) => {
    const word = words.find((candidate) => candidate === text);
    return word === undefined ? { fault: `must be one of ${words.join(', ')}` } : { value: word };
  });
}

/** Any text without control characters, up to `max` characters (default 4096). */
export function text({ max = TEXT_MAX_CHARACTERS }: Pick<Range, 'max'> = {}): z.ZodType<string, string> {
  return fromText('text', (given) => {
    if (given.length > max) return { fault: `must be at most ${max} characters long` };
    return /\p{Cc}/u.test(given) ? { fault: 'must not have control characters' } : { value: given };
  });
}

/** An absolute URL with one of the protocols (as in `['ws:', 'wss:']`) and a host; the text is kept as written. */
export function urlOf(protocols: readonly string[]): z.ZodType<string, string> {
  const names = protocols.map((protocol) => `${protocol}//`).join(' or ');
  return fromText(`URL, ${names}`, (given) => {
    const url = URL.canParse(given) ? new URL(given) : undefined;
    if (url === undefined || !protocols.includes(url.protocol) || url.host === '') return { fault: `must be a URL that begins with ${names}` };
    return { value: given };
  });
}

function fromText<T>(type: string, parse: (text: string) => Parsed<T>): z.ZodType<T, string> {
  return z.string().transform((given, context): T => {
    const parsed = parse(given);
    if ('value' in parsed) return parsed.value;
    context.issues.push({ code: 'custom', message: parsed.fault, input: given });
    return z.NEVER;
  }).describe(type);
}

function within(value: number, range: Required<Range>): Parsed<number> {
  const fits = Number.isSafeInteger(value) && value >= range.min && value <= range.max;
  return fits ? { value } : { fault: `must be ${rangeText(range)}` };
}

function rangeText({ min, max }: Required<Range>): string {
  return max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`;
}
