import type { ProblemDetail } from '@carillon/runtime';
import { z } from 'zod';

import { Refusal } from './refusal.ts';

/** Query parameters one request may have: no route knows a third as many. */
const QUERY_PARAMETERS_MAX = 32;
const PATH_PARAMETER_MAX_CHARACTERS = 512;
/** Faults told at once: more say nothing new, and a hostile body could ask for thousands. */
const FAULTS_MAX = 50;

const nothing = z.strictObject({});

/** Parses what a request brings; throws RESOURCE_INVALID with a pointer to every fault. `above` stands before the pointers. */
export function parseInput(schema: z.ZodType | undefined, value: unknown, above = ''): unknown {
  const result = (schema ?? nothing).safeParse(value);
  const errors = result.success ? [...unstorableIn(value, above)] : result.error.issues.flatMap((issue) => faultsOf(issue, above));
  if (result.success && errors.length === 0) return result.data;
  throw new Refusal('RESOURCE_INVALID', undefined, { errors: errors.slice(0, FAULTS_MAX) });
}

/** The query's parameters, percent-decoded once, `+` as a space. Throws REQUEST_MALFORMED, or RESOURCE_INVALID for one that is there twice. */
export function readQuery(target: string): Record<string, string> {
  const start = target.indexOf('?');
  if (start === -1 || start === target.length - 1) return {};
  const pieces = target.slice(start + 1).split('&').filter((piece) => piece !== '');
  if (pieces.length > QUERY_PARAMETERS_MAX) throw new Refusal('REQUEST_MALFORMED', `more than ${QUERY_PARAMETERS_MAX} query parameters`);
  const query = new Map<string, string>();
  for (const piece of pieces) {
    const [name = '', ...value] = piece.split('=').map(decodeQueryPiece);
    if (query.has(name)) throw new Refusal('RESOURCE_INVALID', undefined, { errors: [{ pointer: pointerTo(['query', name]), detail: 'stands in the query more than once' }] });
    query.set(name, value.join('='));
  }
  // From entries: `__proto__` becomes a name like any other, which no schema knows.
  return Object.fromEntries(query);
}

/** Throws REQUEST_MALFORMED for a path parameter, decoded already, that no resource can have. */
export function checkPath(params: Readonly<Record<string, unknown>>): void {
  for (const value of Object.values(params)) {
    if (typeof value !== 'string' || value.length > PATH_PARAMETER_MAX_CHARACTERS) throw new Refusal('REQUEST_MALFORMED', 'a part of the path is too long');
    if (/\p{Cc}/u.test(value)) throw new Refusal('REQUEST_MALFORMED', 'the path has a control character');
  }
}

function faultsOf(issue: z.core.$ZodIssue, above: string): ProblemDetail[] {
  // Of unknown fields each is a fault of its own, at its own place.
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => ({ pointer: above + pointerTo([...issue.path, key]), detail: 'is not a field of this resource' }));
  if (issue.code === 'invalid_union') {
    // The form whose type fits is the one that was meant.
    const meant = issue.errors.find((issues) => !issues.some(({ code, path }) => code === 'invalid_type' && path.length === 0));
    if (meant !== undefined) return meant.flatMap((inner) => faultsOf(inner, above + pointerTo(issue.path)));
  }
  return [{ pointer: above + pointerTo(issue.path), detail: issue.message }];
}

/** Where text stands that PostgreSQL cannot hold, in any field of any route: it would say so too, and not where. */
function* unstorableIn(value: unknown, at: string): Generator<ProblemDetail> {
  if (typeof value === 'string') {
    if (value.includes('\0') || !value.isWellFormed()) yield { pointer: at, detail: 'has U+0000 or half a surrogate pair' };
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    const pointer = at + pointerTo([name.toWellFormed()]);
    if (name.includes('\0') || !name.isWellFormed()) yield { pointer, detail: 'has a name with U+0000 or half a surrogate pair' };
    yield* unstorableIn(inner, pointer);
  }
}

/** RFC 6901. */
function pointerTo(path: readonly PropertyKey[]): string {
  return path.map((piece) => `/${String(piece).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

function decodeQueryPiece(piece: string): string {
  try {
    return decodeURIComponent(piece.replaceAll('+', ' '));
  } catch {
    throw new Refusal('REQUEST_MALFORMED', 'the query is not percent-encoded UTF-8');
  }
}
