import { execFile, type ExecFileOptions } from 'node:child_process';
import { chown } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** `nobody`, and its group, on every Linux. */
const NOBODY = 65_534;
const NAMESPACE = ['--user', `--map-user=${NOBODY}`, `--map-group=${NOBODY}`] as const;

/** How PostgreSQL's programs are run, which refuse to run as root. */
export interface RunAs {
  /** The command line for `file` with `args`. */
  command(file: string, args: readonly string[]): readonly [string, readonly string[]];
  readonly options: { readonly uid?: number; readonly gid?: number; readonly env?: NodeJS.ProcessEnv };
  /** Gives a path to the user that the programs run as. */
  own(path: string): Promise<void>;
}

/**
 * Not root: as this user. Root: in a user namespace where root is called nobody, so that the files stay root's; where the
 * kernel forbids namespaces, as nobody itself, to whom the directory is given.
 */
export async function unprivileged(): Promise<RunAs> {
  const asIs: RunAs = { command: (file, args) => [file, args], options: environment(), own: async () => undefined };
  if (process.getuid?.() !== 0) return asIs;
  if (await hasNamespaces()) return { ...asIs, command: (file, args) => ['unshare', [...NAMESPACE, file, ...args]] };
  return { ...asIs, options: { ...environment(), uid: NOBODY, gid: NOBODY }, own: async (path) => chown(path, NOBODY, NOBODY) };
}

/** Runs one of the programs to its end; rejects with what it printed as `stderr`. */
export async function runProgram(as: RunAs, { file, args, ...options }: { readonly file: string; readonly args: readonly string[] } & ExecFileOptions): Promise<void> {
  const [command, all] = as.command(file, args);
  await run(command, all, { ...as.options, ...options });
}

async function hasNamespaces(): Promise<boolean> {
  return run('unshare', [...NAMESPACE, 'true'], environment()).then(() => true, () => false);
}

// Nothing of this process's environment reaches PostgreSQL: neither its secrets nor a PGDATA meant for another. Windows needs some.
function environment(): { readonly env?: NodeJS.ProcessEnv } {
  return process.platform === 'win32' ? {} : { env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' } };
}
