import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { findOnPath, runCommand } from './command.ts';

// The suite whose nats-server is new enough (2.15.1); stable's 2.9 and 2.10 are not, or barely.
const SUITE = 'forky';
const DEBIAN_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const APT_SOURCES = '/etc/apt';

/**
 * Downloads Debian's nats-server into `folder` through an apt configuration of its own: the machine's sources, lists and
 * packages stay as they are, and root is not needed. apt verifies the signature of the suite and the hash of the package.
 */
export async function downloadNatsFromDebian(folder: string): Promise<string> {
  if (findOnPath('apt-get') === undefined || findOnPath('dpkg-deb') === undefined) throw new Error('this is not a Debian system');
  const source = debianSource(await readAptSources());
  if (source === undefined) throw new Error('the apt sources of this machine name no Debian archive');

  const lists = join(folder, 'lists');
  const cache = join(folder, 'cache');
  await Promise.all([mkdir(join(lists, 'partial'), { recursive: true }), mkdir(join(cache, 'archives', 'partial'), { recursive: true })]);
  const sourcesFile = join(folder, `${SUITE}.sources`);
  const signedBy = source.signedBy ?? (existsSync(DEBIAN_KEYRING) ? DEBIAN_KEYRING : undefined);
  await writeFile(
    sourcesFile,
    ['Types: deb', `URIs: ${source.uri}`, `Suites: ${SUITE}`, 'Components: main', 'Targets: Packages', ...(signedBy === undefined ? [] : [`Signed-By: ${signedBy}`]), ''].join('\n'),
  );

  const own = [`Dir::Etc::sourcelist=${sourcesFile}`, 'Dir::Etc::sourceparts=-', `Dir::State::lists=${lists}`, `Dir::Cache=${cache}`, 'Acquire::Languages=none'];
  const options = own.flatMap((option) => ['-o', option]);
  await runCommand('apt-get', [...options, '-q', 'update'], { cwd: folder });
  await runCommand('apt-get', [...options, '-q', 'download', 'nats-server'], { cwd: folder });
  const archive = (await readdir(folder)).find((file) => file.endsWith('.deb'));
  if (archive === undefined) throw new Error('apt-get downloaded no package');
  await runCommand('dpkg-deb', ['-x', archive, 'unpacked'], { cwd: folder });
  return join(folder, 'unpacked', 'usr', 'sbin', 'nats-server');
}

export interface DebianSource {
  readonly uri: string;
  readonly signedBy?: string;
}

/**
 * Finds the Debian archive among the texts of apt source files, of either format: the first binary source with the component
 * `main` whose address ends in `/debian` or that is signed by Debian's keyring; never the security archive, which has no such suite.
 */
export function debianSource(files: readonly string[]): DebianSource | undefined {
  const sources = files.flatMap((text) => (/^Types:/im.test(text) ? deb822Sources(text) : oneLineSources(text)));
  return sources.find(({ uri, signedBy }) => !/security/.test(uri) && (/\/debian\/?$/.test(uri) || signedBy === DEBIAN_KEYRING));
}

function deb822Sources(text: string): readonly DebianSource[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (name: string) => new RegExp(`^${name}:[ \\t]*(\\S.*)$`, 'im').exec(stanza)?.[1]?.trim();
    const uri = field('URIs')?.split(/\s+/)[0];
    const enabled = field('Enabled')?.toLowerCase() !== 'no';
    const binary = field('Types')?.split(/\s+/).includes('deb') === true;
    const main = field('Components')?.split(/\s+/).includes('main') === true;
    return uri !== undefined && enabled && binary && main ? [withKey(uri, field('Signed-By'))] : [];
  });
}

function oneLineSources(text: string): readonly DebianSource[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+\S+\s+(.*)$/.exec(line);
    if (match?.[2] === undefined || !(match[3] ?? '').split(/\s+/).includes('main')) return [];
    return [withKey(match[2], /signed-by=(\S+)/i.exec(match[1] ?? '')?.[1])];
  });
}

// A key written out in the file spans lines and is left to apt's own trust.
const withKey = (uri: string, signedBy: string | undefined): DebianSource => (signedBy?.startsWith('/') === true ? { uri, signedBy } : { uri });

async function readAptSources(): Promise<readonly string[]> {
  const parts = join(APT_SOURCES, 'sources.list.d');
  const names = (await readdir(parts).catch(() => [])).filter((name) => name.endsWith('.sources') || name.endsWith('.list')).sort();
  const paths = [...names.map((name) => join(parts, name)), join(APT_SOURCES, 'sources.list')];
  return Promise.all(paths.map((path) => readFile(path, 'utf8').catch(() => '')));
}
