import { eventNamePattern, type PermissionRule } from '@carillon/schemas';
import { isAllPattern } from '@carillon/wire';

/**
 * EnSync's lists name events; the engine routes an event by its name, so that a list of names is a list of room rules.
 * The two languages differ at the end of a pattern: there `*` as the last of the segments between `/` stands for all that
 * follows, here that is `**`. Elsewhere `*` stays; here it does not cross a `-` either.
 *
 *   order/created  ⇄  order/created
 *   order/*        ⇄  order/**
 *   *              ⇄  *
 *
 * What has no counterpart is left out when a key is shown: rules of one event by name, and `order/*` of ours, which is
 * narrower than the only thing it could be shown as. A reader who writes back what it read then narrows, never widens.
 */
export type ReadPatterns = { readonly ok: true; readonly rules: readonly PermissionRule[] } | { readonly ok: false; readonly index: number };

const REST = '/**';
const LAST_SEGMENT = '/*';

/** Reads a list of EnSync's; `index` is of the first name that no pattern can hold. */
export function readEventPatterns(names: readonly string[]): ReadPatterns {
  const rules: PermissionRule[] = [];
  for (const [index, name] of names.entries()) {
    const parsed = eventNamePattern.safeParse(isAllPattern(name) ? '*' : name.endsWith(LAST_SEGMENT) ? `${name}*` : name);
    if (!parsed.success) return { ok: false, index };
    rules.push({ room: parsed.data });
  }
  return { ok: true, rules };
}

/** Shows rules as EnSync's names, as far as it has any for them. */
export function showEventPatterns(rules: readonly PermissionRule[]): string[] {
  return rules.flatMap(({ room, event }: { readonly room: string; readonly event?: string | undefined }) => {
    if (event !== undefined) return [];
    if (isAllPattern(room)) return ['*'];
    if (room.endsWith(REST)) return [room.slice(0, -1)];
    return room.endsWith(LAST_SEGMENT) ? [] : [room];
  });
}
