import { CarillonError } from '@carillon/wire';

/*
 * What Prisma, pg and PostgreSQL report, as the catalogue's codes. Their own words (which hold statements, names of tables and values)
 * go no further than the `cause`.
 */

/** Codes of Prisma (https://www.prisma.io/docs/orm/reference/error-reference). */
const PRISMA_CODES: Readonly<Record<string, Meaning>> = {
  P2002: 'exists', P2003: 'refers-to-nothing', P2025: 'not-found', P2034: 'conflict',
  P2000: 'invalid', P2007: 'invalid', P2020: 'invalid', P2024: 'unavailable', P2028: 'unavailable', P2037: 'unavailable',
};

/** SQLSTATEs, or the class that they begin with (https://www.postgresql.org/docs/18/errcodes-appendix.html). */
const SQL_STATES: Readonly<Record<string, Meaning>> = {
  23505: 'exists', 23503: 'refers-to-nothing', 23001: 'refers-to-nothing', 40001: 'conflict', '40P01': 'conflict',
  // Data that PostgreSQL cannot hold, or not in an index; a text too deep to parse.
  22: 'invalid', 54: 'invalid',
  // Connections, resources, an operator's doing, the machine's; a server that takes no writes or no longer knows us.
  '08': 'unavailable', 53: 'unavailable', 57: 'unavailable', 58: 'unavailable', 28: 'unavailable', '3D': 'unavailable',
  25006: 'unavailable', '25P03': 'unavailable', '55P03': 'unavailable',
};

/** What adapter-pg calls errors that it passes on without a SQLSTATE. */
const DRIVER_KINDS: Readonly<Record<string, Meaning>> = {
  ConnectionClosed: 'unavailable', DatabaseNotReachable: 'unavailable', SocketTimeout: 'unavailable', TlsConnectionError: 'unavailable', TooManyConnections: 'unavailable',
  AuthenticationFailed: 'unavailable', DatabaseAccessDenied: 'unavailable', DatabaseDoesNotExist: 'unavailable', TransactionAlreadyClosed: 'unavailable', TransactionWriteConflict: 'conflict',
};

/** pg and its pool give these no code. */
const CONNECTION_TEXT = /connection terminated|timeout exceeded when trying to connect|query read timeout|not queryable|client was closed|after calling end on the pool|connection ended|terminating connection/i;

type Meaning = 'exists' | 'refers-to-nothing' | 'not-found' | 'conflict' | 'invalid' | 'unavailable';

interface Failure {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly kind?: unknown;
  readonly originalCode?: unknown;
  readonly cause?: unknown;
  readonly meta?: { readonly driverAdapterError?: unknown };
}

/**
 * The fault that an error of the database stands for: `RESOURCE_EXISTS`, `RESOURCE_NOT_FOUND`, `RESOURCE_INVALID`, `STORE_UNAVAILABLE`
 * (also when the same transaction may succeed next time), or `INTERNAL` for what nobody expects. One of ours is given back as it is.
 */
export function storeFault(error: unknown): CarillonError {
  if (error instanceof CarillonError) return error;
  const cause = { cause: error };
  switch (meaningOf(error)) {
    case 'exists': return new CarillonError('RESOURCE_EXISTS', undefined, cause);
    case 'not-found': return new CarillonError('RESOURCE_NOT_FOUND', undefined, cause);
    case 'refers-to-nothing': return new CarillonError('RESOURCE_NOT_FOUND', 'it refers to another that is gone', cause);
    case 'invalid': return new CarillonError('RESOURCE_INVALID', 'the database cannot hold it', cause);
    case 'conflict': return new CarillonError('STORE_UNAVAILABLE', 'too many changes of the same thing at once', cause);
    case 'unavailable': return new CarillonError('STORE_UNAVAILABLE', undefined, cause);
    case undefined: return new CarillonError('INTERNAL', undefined, cause);
  }
}

/** Whether the same work may succeed if it is done again from its beginning: a serialization failure or a deadlock. */
export function isConflict(error: unknown): boolean {
  return meaningOf(error instanceof CarillonError ? error.cause : error) === 'conflict';
}

function meaningOf(error: unknown, depth = 0): Meaning | undefined {
  // Errors of Prisma hold the adapter's, which hold PostgreSQL's.
  if (typeof error !== 'object' || error === null || depth > 4) return undefined;
  const failure: Failure = error;
  return (
    ofState(failure.originalCode) ?? meaningOf(failure.meta?.driverAdapterError, depth + 1) ?? ofCode(failure.code) ?? (typeof failure.kind === 'string' ? DRIVER_KINDS[failure.kind] : undefined) ??
    meaningOf(failure.cause, depth + 1) ?? (typeof failure.message === 'string' && CONNECTION_TEXT.test(failure.message) ? 'unavailable' : undefined)
  );
}

function ofCode(code: unknown): Meaning | undefined {
  if (typeof code !== 'string') return undefined;
  if (/^P1\d{3}$/.test(code)) return 'unavailable';
  if (/^P\d{4}$/.test(code)) return PRISMA_CODES[code];
  // Of Node's sockets and name look-ups.
  return /^(E[A-Z_]{3,}|ERR_SSL_.*|CERT_.*)$/.test(code) ? 'unavailable' : ofState(code);
}

function ofState(state: unknown): Meaning | undefined {
  if (typeof state !== 'string' || !/^[0-9A-Z]{5}$/.test(state)) return undefined;
  return SQL_STATES[state] ?? SQL_STATES[state.slice(0, 2)];
}
