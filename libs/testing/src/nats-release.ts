import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { runCommand } from './command.ts';

// The oldest release that has the security fixes of 2026 in the 2.14 line.
const RELEASE_VERSION = '2.14.3';
const RELEASES_URL = 'https://github.com/nats-io/nats-server/releases/download';
// A closed network must not hold up a test run: without an answer by then the next way is tried.
const ANSWER_TIMEOUT_MS = 3_000;
const BODY_TIMEOUT_MS = 120_000;

const PLATFORMS: Readonly<Record<string, string>> = { linux: 'linux', darwin: 'darwin' };
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/**
 * Downloads the official release for this platform into `folder` and gives the path of the unpacked program. The archive is
 * checked against the SHA256SUMS of the same release: that catches damage, and trusts the release page and its TLS for the rest.
 */
export async function downloadNatsRelease(folder: string): Promise<string> {
  const platform = PLATFORMS[process.platform];
  const architecture = ARCHITECTURES[process.arch];
  if (platform === undefined || architecture === undefined) throw new Error(`no release is known for ${process.platform} ${process.arch}`);
  const name = `nats-server-v${RELEASE_VERSION}-${platform}-${architecture}`;
  const archive = `${name}.tar.gz`;

  const sums = (await fetchBytes(`${RELEASES_URL}/v${RELEASE_VERSION}/SHA256SUMS`)).toString('utf8');
  const bytes = await fetchBytes(`${RELEASES_URL}/v${RELEASE_VERSION}/${archive}`);
  verifyChecksum(bytes, { archive, sums });

  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, archive), bytes);
  await runCommand('tar', ['-xzf', archive], { cwd: folder });
  return join(folder, name, 'nats-server');
}

/** Throws unless `sums` (lines of `<sha-256> <file>`) lists exactly this content for `archive`. */
export function verifyChecksum(bytes: Uint8Array, expected: { readonly archive: string; readonly sums: string }): void {
  const lines = expected.sums.split('\n').map((line) => line.trim().split(/\s+\*?/));
  const wanted = lines.find(([, file]) => file === expected.archive)?.[0];
  if (wanted === undefined) throw new Error(`the release's SHA256SUMS does not list ${expected.archive}`);
  const actual = createHash('sha256').update(bytes).digest('hex');
  if (actual !== wanted.toLowerCase()) throw new Error(`${expected.archive} has SHA-256 ${actual}, its release says ${wanted}`);
}

async function fetchBytes(url: string): Promise<Buffer> {
  const abort = new AbortController();
  const giveUp = (afterMs: number) => setTimeout(() => abort.abort(new Error(`no answer within ${afterMs} ms`)), afterMs);
  let timer = giveUp(ANSWER_TIMEOUT_MS);
  try {
    const response = await fetch(url, { signal: abort.signal });
    clearTimeout(timer);
    timer = giveUp(BODY_TIMEOUT_MS);
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  } finally {
    clearTimeout(timer);
  }
}
