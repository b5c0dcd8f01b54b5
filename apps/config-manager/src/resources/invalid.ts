import type { ProblemDetail } from '@carillon/runtime';

import { Refusal } from '../http/refusal.ts';

/** Refuses fields that are well-formed and still not acceptable; pointers are JSON pointers into the body. */
export function refuseFields(errors: readonly ProblemDetail[]): never {
  throw new Refusal('RESOURCE_INVALID', undefined, { errors });
}

/** Earliest and latest time that ISO 8601 writes with a year of four digits, which is what answers and the database have. */
const TIME_MIN_MS = Date.parse('0001-01-01T00:00:00Z');
const TIME_MAX_MS = Date.parse('9999-12-31T23:59:59.999Z');

/** Refuses a well-formed time that, in UTC, is not of the years 1 to 9999. */
export function requireTime(pointer: string, iso: string): void {
  const atMs = Date.parse(iso);
  if (!(atMs >= TIME_MIN_MS && atMs <= TIME_MAX_MS)) refuseField(pointer, 'must lie in the years 1 to 9999');
}

export function refuseField(pointer: string, detail: string): never {
  refuseFields([{ pointer, detail }]);
}
