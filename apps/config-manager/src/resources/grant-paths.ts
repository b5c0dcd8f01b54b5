/**
 * The paths of account keys, relative to the key's own workspace: '' its own alone · 'team-a' that one · 'team-a/*' all below
 * it · '*' its own and all below. A star anywhere else is no wildcard.
 */
type Reach =
  | { readonly kind: 'one'; readonly path: string }
  | { readonly kind: 'below'; readonly path: string; readonly andItself: boolean };

function reachOf(grant: string, base: string): Reach {
  if (grant === '*') return { kind: 'below', path: base, andItself: true };
  if (grant.length > 2 && grant.endsWith('/*')) return { kind: 'below', path: join(base, grant.slice(0, -2)), andItself: false };
  return { kind: 'one', path: join(base, grant) };
}

const join = (base: string, path: string): string => (base === '' || path === '' ? base + path : `${base}/${path}`);

const isBelow = (path: string, above: string): boolean => path !== above && (above === '' || path.startsWith(`${above}/`));

function covers(wide: Reach, narrow: Reach): boolean {
  if (wide.kind === 'one') return narrow.kind === 'one' && narrow.path === wide.path;
  if (isBelow(narrow.path, wide.path)) return true;
  return narrow.path === wide.path && (wide.andItself || (narrow.kind === 'below' && !narrow.andItself));
}

/**
 * Whether one of the paths that a key has covers all that `wanted` selects for a key of a workspace at `base`, the path from
 * the first key's workspace ('' when both have the same one).
 */
export function coversGrant(held: readonly string[], base: string, wanted: string): boolean {
  const narrow = reachOf(wanted, base);
  return held.some((path) => covers(reachOf(path, ''), narrow));
}
