import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/**
 * Where the original programs are and how they are told what to do. The defaults are those of a build as README.md
 * describes it; a build that names things otherwise says so here.
 */
const FLAGS = {
  'hub': { type: 'string' },
  'repeater': { type: 'string' },
  'messenger': { type: 'string' },
  /** Environment of the hub: its port, and `ws://` addresses of hubs it opens links to. */
  'hub-port-env': { type: 'string', default: 'HUB_PORT' },
  'hub-links-env': { type: 'string', default: 'HUB_LINKS' },
  /** Environment of the repeater; the other names are the original's own. */
  'repeater-port-env': { type: 'string', default: 'REPEATER_PORT' },
  /** Flags of the messenger's command line. */
  'messenger-hub-flag': { type: 'string', default: '-hub' },
  'messenger-rooms-flag': { type: 'string', default: '-rooms' },
  'messenger-send-flag': { type: 'string', default: '-send' },
  'messenger-count-flag': { type: 'string', default: '-count' },
  'messenger-delay-flag': { type: 'string', default: '-delay' },
  /** Runs only the checks whose name holds this. */
  'only': { type: 'string', default: '' },
} as const;

export type CompatOptions = ReturnType<typeof readOptions>;

/** Reads the command line; throws with a sentence for the person who typed it. */
export function readOptions(args: readonly string[]) {
  const { values } = parseArgs({ args: [...args], options: FLAGS });
  const program = (name: 'hub' | 'repeater' | 'messenger'): string => {
    const path = values[name];
    if (path === undefined) throw new Error(`--${name} must name the original ${name} program (tools/compat/README.md tells how to build it)`);
    return resolve(path);
  };
  return { ...values, hub: program('hub'), repeater: program('repeater'), messenger: program('messenger') };
}
