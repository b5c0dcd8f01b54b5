import { ERRORS, isErrorCode } from '@carillon/wire';
import { expect } from 'vitest';
import type { z } from 'zod';

import type { Answer } from '../config-manager.fixture.ts';
import type { Route } from '../http/route.ts';

/** RFC 6901: nothing, or pieces that each begin with a slash and have no ~ but ~0 and ~1. */
const POINTER = /^(?:\/(?:[^~/]|~[01])*)*$/;

interface Problem {
  readonly type: string;
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}

/** Fails unless an answer is a refusal of the catalogue (4xx); of wrong fields, with a pointer to each. Gives its pointers. */
export function expectRefusal({ status, body, headers, text }: Answer<unknown>, what: string, ...codes: readonly string[]): readonly string[] {
  const problem = body as Problem;
  const said = `${what}: ${status} ${text}`;
  expect(status, said).toBeGreaterThanOrEqual(400);
  expect(status, said).toBeLessThan(500);
  expect(headers.get('content-type'), said).toBe('application/problem+json');
  expect(isErrorCode(problem.code), said).toBe(true);
  const { http, title } = ERRORS[problem.code as keyof typeof ERRORS];
  expect({ status, title: problem.title, type: problem.type, inside: problem.status }, said).toEqual({ status: http, title, type: `urn:carillon:error:${problem.code}`, inside: http });
  if (codes.length > 0) expect(codes, said).toContain(problem.code);
  const pointers = problem.errors?.map(({ pointer }) => pointer) ?? [];
  if (problem.code === 'RESOURCE_INVALID') expect(pointers.length, said).toBeGreaterThan(0);
  for (const pointer of pointers) expect(pointer, said).toMatch(POINTER);
  return pointers;
}

/** Names of the fields that a route's body, query or path takes. */
export function fieldsOf(schema: z.ZodType | undefined): readonly string[] {
  return schema === undefined || !('shape' in schema) ? [] : Object.keys(schema.shape as object);
}

/** Whether a listing. */
export const isPaged = (route: Route): boolean => fieldsOf(route.query).includes('cursor');
