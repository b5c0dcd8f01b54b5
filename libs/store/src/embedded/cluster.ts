import { randomBytes } from 'node:crypto';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { PostgresBinaries } from './binaries.ts';
import { embeddedFault, faultOfOutput } from './fault.ts';
import { runProgram, type RunAs } from './run-as.ts';

/** The superuser of the cluster, and the name of its database. */
export const EMBEDDED_NAME = 'carillon';

const PASSWORD_BYTES = 24;

export interface ClusterFiles {
  readonly dir: string;
  readonly data: string;
  readonly password: string;
  readonly log: string;
}

export const clusterFiles = (dir: string): ClusterFiles => ({ dir, data: join(dir, 'data'), password: join(dir, 'password'), log: join(dir, 'postgres.log') });

/** Makes the data directory unless it is there; gives the superuser's password. `STORE_UNAVAILABLE` says what is in the way. */
export async function ensureCluster(files: ClusterFiles, { binaries, as, sync }: { readonly binaries: PostgresBinaries; readonly as: RunAs; readonly sync: boolean }): Promise<string> {
  const { dir, data, log } = files;
  const version = await readFile(join(data, 'PG_VERSION'), 'utf8').catch(() => undefined);
  const password = await readFile(files.password, 'utf8').then((text) => text.trim(), () => undefined);
  if (version !== undefined) {
    if (Number.parseInt(version, 10) !== binaries.major) {
      throw embeddedFault(`${data} was made by PostgreSQL ${version.trim()}, and this program brings PostgreSQL ${binaries.major}`, 'Dump it with the program that made it and load the dump into an empty directory');
    }
    if (password === undefined || password === '') throw embeddedFault(`The password of the embedded PostgreSQL is missing (${files.password})`, 'Put that file back');
    return password;
  }
  // What somebody else keeps there is not ours to replace.
  if ((await readdir(data).catch(() => [])).length > 0) throw embeddedFault(`${data} has files in it but no PostgreSQL cluster`, 'Move them away');
  const made = password === undefined || password === '' ? randomBytes(PASSWORD_BYTES).toString('base64url') : password;
  await writeFile(files.password, `${made}\n`, { mode: 0o600 });
  await as.own(files.password);
  await initialise(files, { binaries, as, sync }).catch((error: unknown) => {
    throw faultOfOutput(outputOf(error), { dir, log });
  });
  return made;
}

/** Under another name until it is whole, so that half a cluster never looks like one. */
async function initialise({ data, password }: ClusterFiles, { binaries, as, sync }: { readonly binaries: PostgresBinaries; readonly as: RunAs; readonly sync: boolean }): Promise<void> {
  const unfinished = `${data}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const access = [`--username=${EMBEDDED_NAME}`, '--auth=scram-sha-256', `--pwfile=${password}`];
  await runProgram(as, { file: binaries.initdb, args: ['-D', unfinished, ...locale, ...access, ...(sync ? [] : ['--no-sync'])] });
  await rm(data, { recursive: true, force: true });
  await rename(unfinished, data);
}

function outputOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message?: string };
  return stderr === undefined || stderr.trim() === '' ? (message ?? '') : stderr;
}
