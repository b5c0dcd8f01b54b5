import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { runCommand } from './command.ts';
import { debianSource } from './nats-debian.ts';
import { verifyChecksum } from './nats-release.ts';
import { obtainNatsServer } from './obtain-nats-server.ts';

const DOWNLOAD_TIMEOUT_MS = 180_000;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-obtain-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function fakeServer(version: string): Promise<string> {
  const path = join(folder, 'nats-server');
  await writeFile(path, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  await chmod(path, 0o755);
  return path;
}

describe('obtainNatsServer', () => {
  it('gives a program of at least 2.10 to several callers at once', { timeout: DOWNLOAD_TIMEOUT_MS }, async () => {
    const paths = new Set(await Promise.all([obtainNatsServer(), obtainNatsServer(), obtainNatsServer()]));

    expect(paths.size).toBe(1);
    const version = /v2\.(\d+)\./.exec(await runCommand([...paths][0] ?? '', ['--version']));
    expect(Number(version?.[1])).toBeGreaterThanOrEqual(10);
  });

  it('prefers the program that CARILLON_NATS_SERVER_BIN names', async () => {
    const path = await fakeServer('2.99.0');
    vi.stubEnv('CARILLON_NATS_SERVER_BIN', path);

    expect(await obtainNatsServer()).toBe(path);
  });

  it('refuses a named program that is too old, rather than taking another', async () => {
    vi.stubEnv('CARILLON_NATS_SERVER_BIN', await fakeServer('2.9.10'));

    await expect(obtainNatsServer()).rejects.toThrow(/version 2\.9\.10; name a nats-server of 2\.10 or later/);
  });

  it('refuses a named program that does not exist', async () => {
    vi.stubEnv('CARILLON_NATS_SERVER_BIN', join(folder, 'absent'));

    await expect(obtainNatsServer()).rejects.toThrow(/not a nats-server that runs here/);
  });

  it('takes one from PATH', async () => {
    const path = await fakeServer('2.10.0');
    vi.stubEnv('CARILLON_NATS_SERVER_BIN', '');
    vi.stubEnv('PATH', `${folder}:${process.env['PATH'] ?? ''}`);

    expect(await obtainNatsServer()).toBe(path);
  });

  it('passes over one on PATH that is too old', { timeout: DOWNLOAD_TIMEOUT_MS }, async () => {
    const path = await fakeServer('2.9.10');
    vi.stubEnv('PATH', `${folder}:${process.env['PATH'] ?? ''}`);

    expect(await obtainNatsServer()).not.toBe(path);
  });
});

describe('verifyChecksum', () => {
  // SHA-256 of "abc" (FIPS 180-2, appendix B.1).
  const sums = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.tar.gz\n';

  it('passes the content that the list names', () => {
    expect(() => verifyChecksum(Buffer.from('abc'), { archive: 'a.tar.gz', sums })).not.toThrow();
  });

  it('refuses other content, and a file that is not listed', () => {
    expect(() => verifyChecksum(Buffer.from('abd'), { archive: 'a.tar.gz', sums })).toThrow(/its release says ba7816bf/);
    expect(() => verifyChecksum(Buffer.from('abc'), { archive: 'b.tar.gz', sums })).toThrow(/does not list b\.tar\.gz/);
  });
});

describe('debianSource', () => {
  it('finds the archive in a deb822 file and passes over security, others and what is off', () => {
    const text = [
      'Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main',
      'Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main',
      'Types: deb\nURIs: http://other.example/node_20.x\nSuites: nodistro\nComponents: main',
      'Types: deb\n# a remark\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main contrib\nSigned-By: /keys/debian.gpg',
    ].join('\n\n');

    expect(debianSource([text])).toEqual({ uri: 'http://mirror.example/debian', signedBy: '/keys/debian.gpg' });
  });

  it('finds it in a file of one-line entries', () => {
    const text = '# deb http://no.example/debian sid main\ndeb [arch=amd64 signed-by=/keys/d.gpg] http://mirror.example/debian/ bookworm main\n';

    expect(debianSource(['', text])).toEqual({ uri: 'http://mirror.example/debian/', signedBy: '/keys/d.gpg' });
  });

  it('finds nothing on a machine that is not Debian', () => {
    expect(debianSource(['deb http://archive.example/ubuntu noble main'])).toBeUndefined();
  });
});
