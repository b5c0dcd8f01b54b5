import { CarillonError } from '@carillon/wire';

import type { Prisma } from '../generated/client.ts';

/** What all rows with a version begin with. */
export interface StoredRow {
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface Stored {
  readonly version: number;
  readonly createdAt: string;
  readonly updatedAt: string;
}

export function stored({ version, createdAt, updatedAt }: StoredRow): Stored {
  return { version, createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString() };
}

/** The times of a row that is made now. */
export function born(): { readonly createdAt: Date; readonly updatedAt: Date } {
  const now = new Date();
  return { createdAt: now, updatedAt: now };
}

/** What every update writes beside its fields. */
export function changed(): { readonly version: { readonly increment: 1 }; readonly updatedAt: Date } {
  return { version: { increment: 1 }, updatedAt: new Date() };
}

/** The condition on a row's version; none when the caller names none. */
export function atVersion(expected: number | undefined): { readonly version?: number } {
  return expected === undefined ? {} : { version: expected };
}

/** Without the fields that are undefined: they stay as they are. */
export function given<T extends object>(fields: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [Name in keyof T]?: Exclude<T[Name], undefined> };
}

/** An object of ours as Prisma takes JSON: fields that are undefined are left out of it. */
export function json(value: object): Prisma.InputJsonObject {
  return value;
}

export function iso(at: Date | null): string | null {
  return at === null ? null : at.toISOString();
}

/**
 * Runs a write to one row that `atVersion` may keep from finding it: `PRECONDITION_FAILED` when the row is there with another version,
 * `RESOURCE_NOT_FOUND` when it is not.
 */
export async function versioned<T>(expected: number | undefined, { write, exists }: { readonly write: () => Promise<T>; readonly exists: () => Promise<unknown> }): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (expected === undefined || !(error instanceof CarillonError) || error.code !== 'RESOURCE_NOT_FOUND' || !(await exists())) throw error;
    throw new CarillonError('PRECONDITION_FAILED', undefined, { cause: error });
  }
}
