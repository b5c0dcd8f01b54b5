import { LogError } from './event-log.ts';

/** What a body of the log tells its owner's log. */
export interface LogLog {
  warn(fields: Readonly<Record<string, unknown>>, text: string): void;
}

// ENOSPC, EDQUOT and EFBIG of Linux and macOS; MDB_MAP_FULL of lmdb.h.
const FULL_CODES: readonly unknown[] = [28, 122, 69, 27, -30792];

/** What went wrong in the store, as the LogError that callers get. */
export function storeFault(error: unknown): LogError {
  if (error instanceof LogError) return error;
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  const text = typeof message === 'string' ? message : String(error);
  if (FULL_CODES.includes(code) || /no space left|disk quota|MDB_MAP_FULL|file too large/i.test(text)) return new LogError('LOG_FULL', 'There is no room on the disk of the log.', { cause: error });
  return new LogError('LOG_UNAVAILABLE', `The log's store failed: ${text}`, { cause: error });
}

/** What makes a log that cannot be opened one that may be set aside. */
export class Unsound extends Error {}

/** `advice`: what its owner can do, as a sentence. */
export function damagedFault(dir: string, what: string, advice = 'Restore it, or open it once with the option to set a damaged log aside.'): LogError {
  return new LogError('LOG_UNAVAILABLE', `The log in ${dir} is damaged: ${what}. ${advice}`, { cause: new Unsound(what) });
}

/** What is damaged of a log that could not be opened; undefined: it was something else. */
export const damageOf = (error: unknown): string | undefined => (error instanceof LogError && error.cause instanceof Unsound ? error.cause.message : undefined);

export const closedFault = (): LogError => new LogError('LOG_CLOSED', 'The log is closed.');
