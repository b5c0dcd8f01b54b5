import { ACTIONS, type Action, type Resource, type ResourcePermissions } from '@carillon/schemas';

/**
 * What an ACCOUNT key may do, in EnSync's words and in ours: other names of resources, `write` for create, update and
 * delete together, and paths that may begin with the name of the key's own workspace. What has no counterpart is refused
 * when it comes in and left out when a key is shown.
 */
export type WireResources = Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
export type ReadResources = { readonly ok: true; readonly resources: ResourcePermissions } | { readonly ok: false; readonly pointer: string; readonly detail: string };

const RESOURCE_WORDS: Readonly<Record<string, Resource>> = {
  events: 'event-definitions', event: 'event-definitions',
  access_keys: 'keys', accessKeys: 'keys', 'access-keys': 'keys', 'access keys': 'keys',
  workspaces: 'workspaces', workspace: 'workspaces',
  logs: 'audit',
};
const SHOWN: readonly (readonly [string, Resource])[] = [['events', 'event-definitions'], ['access_keys', 'keys'], ['workspaces', 'workspaces'], ['logs', 'audit']];
const WRITE: readonly Action[] = ['create', 'update', 'delete'];
const ACTION_WORDS: Readonly<Record<string, readonly Action[]>> = { read: ['read'], create: ['create'], update: ['update'], delete: ['delete'], write: WRITE };

const PATH = /^(?:\*|[A-Za-z0-9][A-Za-z0-9_.-]*(?:\/[A-Za-z0-9][A-Za-z0-9_.-]*)*(?:\/\*)?)$/;
const PATH_MAX_CHARACTERS = 512;
const PATHS_MAX = 100;

/** Reads what was asked for; `own` is the name of the workspace that the key will be in. */
export function readResources(wire: WireResources, own: string): ReadResources {
  const granted = new Map<Resource, Map<Action, Set<string>>>();
  for (const [word, actions] of Object.entries(wire)) {
    const resource = lookUp(RESOURCE_WORDS, word);
    if (resource === undefined) return { ok: false, pointer: pointer(word), detail: `is no resource here: ${Object.keys(RESOURCE_WORDS).join(', ')} are` };
    for (const [actionWord, paths] of Object.entries(actions)) {
      const meant = lookUp(ACTION_WORDS, actionWord);
      if (meant === undefined) return { ok: false, pointer: pointer(word, actionWord), detail: `is no action here: ${Object.keys(ACTION_WORDS).join(', ')} are` };
      const read = paths.map((path) => readPath(path, own));
      const bad = read.indexOf(undefined);
      if (bad !== -1) return { ok: false, pointer: pointer(word, actionWord, String(bad)), detail: 'is no path: "*" for all, the name of a workspace, or a path below the own one, with a final "/*" for all below that' };
      for (const action of meant) {
        const of = granted.get(resource) ?? new Map<Action, Set<string>>();
        const all = new Set([...(of.get(action) ?? []), ...read.filter((path) => path !== undefined)]);
        if (all.size > PATHS_MAX) return { ok: false, pointer: pointer(word, actionWord), detail: `has more than ${PATHS_MAX} paths` };
        granted.set(resource, of.set(action, all));
      }
    }
  }
  return { ok: true, resources: Object.fromEntries([...granted].map(([resource, actions]) => [resource, Object.fromEntries([...actions].map(([action, paths]) => [action, [...paths]]))])) };
}

/** Shows what a key may do. `write` stands there besides the three actions when it may all three in the same places. */
export function showResources(resources: ResourcePermissions, own: string): WireResources {
  const shown: Record<string, Record<string, readonly string[]>> = {};
  for (const [word, resource] of SHOWN) {
    const of = resources[resource];
    if (of === undefined) continue;
    const actions: Record<string, readonly string[]> = {};
    for (const action of ACTIONS) {
      const paths = of[action];
      if (paths !== undefined) actions[action] = paths.map((path) => (path === '' ? own : path));
    }
    const [create, ...rest] = WRITE.map((action) => of[action]?.toSorted().join(' '));
    if (create !== undefined && rest.every((paths) => paths === create)) actions['write'] = actions['create'] as readonly string[];
    shown[word] = actions;
  }
  return shown;
}

/** A path of ours: "" is the own workspace. All below it but not itself cannot be said. */
function readPath(path: string, own: string): string | undefined {
  if (path.length > PATH_MAX_CHARACTERS || !PATH.test(path)) return undefined;
  const [first = '', ...rest] = path.split('/');
  if (first.toLowerCase() !== own.toLowerCase()) return path;
  const below = rest.join('/');
  return below === '*' ? undefined : below;
}

function lookUp<T>(table: Readonly<Record<string, T>>, word: string): T | undefined {
  return Object.hasOwn(table, word) ? table[word] : undefined;
}

function pointer(...segments: readonly string[]): string {
  return segments.map((segment) => `/${segment.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}
