import { Refusal } from './refusal.ts';

/** Versions are 32-bit integers in the database, which refuses to compare them with more. */
const VERSION_MAX = 2_147_483_647;
/** RFC 9110 §8.8.3: what stands between the quotes. */
const ENTITY_TAG = /^"([\x21\x23-\x7e\x80-\xff]*)"$/;

/** A version as an entity tag. */
export function entityTag(version: number): string {
  return `"${version}"`;
}

/**
 * The version that `If-Match` asks for; undefined without one and for `*`, since a resource that is not there is
 * RESOURCE_NOT_FOUND anyway. Throws PRECONDITION_FAILED for a tag that none of ours is (a weak one never matches, RFC 9110
 * §13.1.1), REQUEST_MALFORMED for what is no single tag.
 */
export function versionAskedFor(ifMatch: string | undefined): number | undefined {
  if (ifMatch === undefined || ifMatch.trim() === '*') return undefined;
  const tag = ifMatch.trim();
  if (tag.startsWith('W/')) throw new Refusal('PRECONDITION_FAILED', 'a weak entity tag never matches');
  const opaque = ENTITY_TAG.exec(tag)?.[1];
  if (opaque === undefined) throw new Refusal('REQUEST_MALFORMED', 'If-Match takes one entity tag, as in "7", or *');
  if (!/^[1-9]\d{0,9}$/.test(opaque) || Number(opaque) > VERSION_MAX) throw new Refusal('PRECONDITION_FAILED', 'no version of this resource has this entity tag');
  return Number(opaque);
}
