import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { findOnPath, isExecutable, runCommand } from './command.ts';
import { withFileLock } from './file-lock.ts';

const DEBIAN_CHROMIUM = '/usr/bin/chromium';
// About 100 MB of packages on a slow line.
const INSTALL_TIMEOUT_MS = 10 * 60_000;
const WHAT_TO_DO = 'Install Chromium or Chrome so that it is on PATH, or set CARILLON_CHROMIUM_BIN to its path.';

/**
 * Path of a Chromium for page tests: $CARILLON_CHROMIUM_BIN, PATH, /usr/bin/chromium, else installed from the machine's own
 * Debian or Ubuntu archive where this process is root or may use sudo without a password. Callers in several processes wait for
 * one installation. When every way fails the error says what to do.
 */
export async function obtainChromium(): Promise<string> {
  const named = process.env['CARILLON_CHROMIUM_BIN'];
  if (named !== undefined && named !== '') {
    if (isExecutable(named)) return named;
    throw new Error(`CARILLON_CHROMIUM_BIN names ${named}, which is not a program; correct it or unset it.`);
  }
  return find() ?? withFileLock(join(tmpdir(), 'carillon-chromium.lock'), async () => find() ?? install());
}

function find(): string | undefined {
  return findOnPath('chromium', 'chromium-browser', 'google-chrome') ?? (isExecutable(DEBIAN_CHROMIUM) ? DEBIAN_CHROMIUM : undefined);
}

async function install(): Promise<string> {
  if (findOnPath('apt-get') === undefined) throw new Error(`There is no Chromium here and no apt-get to install it with. ${WHAT_TO_DO}`);
  const prefix = await rootPrefix();
  if (prefix === undefined) throw new Error(`There is no Chromium here, and installing it takes root or sudo without a password. ${WHAT_TO_DO}`);
  const apt = (...args: readonly string[]) => {
    const [file = 'apt-get', ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', '-o', 'DPkg::Lock::Timeout=120', ...args];
    return runCommand(file, rest, { timeoutMs: INSTALL_TIMEOUT_MS });
  };
  const installation = () => apt('install', '-y', '--no-install-recommends', 'chromium');
  try {
    // The package lists may be absent (containers) or old enough to name packages that are gone: then, and only then, update.
    await installation().catch(() => apt('update').then(installation));
  } catch (error) {
    throw new Error(`There is no Chromium here and apt-get could not install it (${error instanceof Error ? error.message : String(error)}). ${WHAT_TO_DO}`, { cause: error });
  }
  const path = find();
  if (path === undefined) throw new Error(`apt-get installed the package chromium, but it brought no program. ${WHAT_TO_DO}`);
  await runCommand(path, ['--version']);
  return path;
}

async function rootPrefix(): Promise<readonly string[] | undefined> {
  if (process.getuid?.() === 0) return [];
  if (findOnPath('sudo') === undefined) return undefined;
  return runCommand('sudo', ['-n', 'true']).then(
    () => ['sudo', '-n'],
    () => undefined,
  );
}
