import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { eventually, trackResources } from '@carillon/testing';
import { afterEach, describe, expect, it } from 'vitest';

import { askOnce } from '../ask-once.ts';
import { FAST, useTemporaryDirectory } from '../postgres.fixture.ts';
import { expectCode } from '../samples.fixture.ts';
import { postgresBinaries } from './binaries.ts';
import { startEmbeddedPostgres } from './embedded-postgres.ts';
import { faultOfOutput } from './fault.ts';
import { isAlive } from './process-of.ts';

const directory = useTemporaryDirectory();
const children = new Set<ChildProcess>();
let names = 0;
const newDir = () => join(directory.path, `s${(names += 1)}`);
const STARTER = fileURLToPath(new URL('./starter.fixture.ts', import.meta.url));

const start = async (dir: string, settings: Readonly<Record<string, string>> = FAST) => {
  const server = await startEmbeddedPostgres({ dir, settings });
  directory.own(server);
  return server;
};

/** Another process that starts or adopts, in a process group of its own. */
const startElsewhere = (dir: string, then: 'end' | 'stay') => {
  const child = spawn(process.execPath, ['--conditions=@carillon/source', '--import', 'tsx', STARTER, dir, then], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const started = eventually(() => output.endsWith('\n') && (JSON.parse(output) as { pid: number; port: number; adopted: boolean }), { timeoutMs: 40_000, what: 'the other process to start a server' });
  return { pid: child.pid ?? 0, started, closed };
};

afterEach(() => {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  children.clear();
});

describe('the embedded PostgreSQL', () => {
  it('listens on loopback only, lets nobody in without the password, and keeps its files to itself', async () => {
    const dir = newDir();
    const server = await start(dir);
    const url = new URL(server.url);
    expect([url.hostname, Number(url.port), server.adopted]).toEqual(['127.0.0.1', server.port, false]);
    expect(await askOnce(server.url, 'SELECT current_database() AS name')).toEqual([{ name: 'carillon' }]);
    expect(await askOnce(server.url, 'SHOW server_version')).toEqual([{ server_version: expect.stringMatching(/^18\./) as string }]);
    await expect(askOnce(Object.assign(new URL(url), { password: 'wrong' }).href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
    await expect(askOnce(Object.assign(new URL(url), { password: '' }).href, 'SELECT 1')).rejects.toThrow();
    const modes = await Promise.all(['.', 'data', 'password', 'postgres.log'].map(async (name) => (await stat(join(dir, name))).mode & 0o777));
    expect(modes).toEqual([0o700, 0o700, 0o600, 0o600]);
    const outside = Object.values(networkInterfaces()).flat().find((found) => found?.family === 'IPv4' && !found.internal)?.address;
    if (outside !== undefined) await expect(reachable(outside, server.port)).resolves.toBe(false);
    expect(await readFile(join(dir, 'postgres.log'), 'utf8')).not.toContain(url.password);
  });

  it('is adopted while it runs, keeps its port and its data over a restart, and leaves nothing in this process', async () => {
    const dir = newDir();
    const released = trackResources();
    const first = await start(dir);
    await askOnce(first.url, 'CREATE TABLE kept (a int)');
    const second = await start(dir);
    expect([second.pid, second.url, second.adopted, second.owned]).toEqual([first.pid, first.url, true, false]);
    await second.stop();
    // It is a child of this process, which may not have heard of its end yet.
    await eventually(() => !isAlive(first.pid));
    await first.stop();
    const third = await start(dir);
    expect([third.url, third.adopted]).toEqual([first.url, false]);
    expect(await askOnce(third.url, 'SELECT * FROM kept')).toEqual([]);
    // An old handle does not stop a server that is not its own.
    await first.stop();
    expect(isAlive(third.pid)).toBe(true);
    await third.stop();
    await released();
  });

  it('is one server, however many start it at once', { timeout: 60_000 }, async () => {
    const dir = newDir();
    const elsewhere = [startElsewhere(dir, 'end'), startElsewhere(dir, 'end')];
    const here = await Promise.all(Array.from({ length: 4 }, async () => start(dir)));
    const all = [...here, ...(await Promise.all(elsewhere.map(async ({ started }) => started)))];
    expect(new Set(all.map(({ pid }) => pid)).size).toBe(1);
    expect(all.filter(({ adopted }) => !adopted)).toHaveLength(1);
  });

  it('starts again after it was killed, with all that was committed', async () => {
    const dir = newDir();
    const first = await start(dir);
    await askOnce(first.url, 'CREATE TABLE kept AS SELECT 1 AS a');
    // What its own remains still do with the data is waited for.
    const busy = askOnce(first.url, 'SELECT pg_sleep(60)').catch(() => undefined);
    // The signal takes a moment, in which it looks as if it could be adopted.
    first.kill();
    const second = await start(dir);
    await busy;
    expect(second.adopted).toBe(false);
    expect(await askOnce(second.url, 'SELECT * FROM kept')).toEqual([{ a: 1 }]);
  });

  it('starts although its old process id is another process now', async () => {
    const dir = newDir();
    const first = await start(dir);
    await askOnce(first.url, 'CREATE TABLE kept AS SELECT 1 AS a');
    first.kill();
    await eventually(() => !isAlive(first.pid));
    const bystander = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'], { stdio: 'ignore' });
    children.add(bystander);
    const pidFile = join(dir, 'data', 'postmaster.pid');
    await writeFile(pidFile, (await readFile(pidFile, 'utf8')).replace(/^\d+/, String(bystander.pid)));
    const second = await start(dir);
    expect(second.adopted).toBe(false);
    expect(await askOnce(second.url, 'SELECT * FROM kept')).toEqual([{ a: 1 }]);
    await second.stop();
    expect(isAlive(bystander.pid ?? 0)).toBe(true);
  });

  it('takes another port when somebody has its own', async () => {
    const dir = newDir();
    const first = await start(dir);
    await first.stop();
    const other = newDir();
    await mkdir(other, { recursive: true });
    await writeFile(join(other, 'port'), `${first.port}\n`);
    const squatter = await start(other);
    expect(squatter.port).toBe(first.port);
    const second = await start(dir);
    expect(second.port).not.toBe(first.port);
    expect(await askOnce(second.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('outlives its starter, holds none of its streams, and takes no notice of its Ctrl-C', { timeout: 60_000 }, async () => {
    const ended = startElsewhere(newDir(), 'end');
    const { pid } = await ended.started;
    // Its output closes with it: the server has no copy.
    await ended.closed;
    expect(isAlive(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');

    const dir = newDir();
    const interrupted = startElsewhere(dir, 'stay');
    const server = await interrupted.started;
    process.kill(-interrupted.pid, 'SIGINT');
    await interrupted.closed;
    const adopted = await start(dir);
    expect([adopted.pid, adopted.adopted, adopted.owned]).toEqual([server.pid, true, true]);
    await adopted.stop();
  });

  it('takes no half-made cluster for one, and replaces nothing that somebody put there', async () => {
    const dir = newDir();
    await mkdir(join(dir, 'data.unfinished'), { recursive: true });
    await writeFile(join(dir, 'data.unfinished', 'PG_VERSION'), '18\n');
    expect((await start(dir)).adopted).toBe(false);
    const foreign = newDir();
    await mkdir(join(foreign, 'data'), { recursive: true });
    await writeFile(join(foreign, 'data', 'holiday.jpg'), 'x');
    expect((await expectCode('STORE_UNAVAILABLE', start(foreign))).message).toContain('Move them away');
    expect(await readFile(join(foreign, 'data', 'holiday.jpg'), 'utf8')).toBe('x');
  });

  it('makes up for what a start that was killed has left undone', async () => {
    const dir = newDir();
    const first = await start(dir);
    // Killed after the cluster was there and before the database was.
    await askOnce(first.url.replace(/carillon$/, 'postgres'), 'DROP DATABASE carillon WITH (FORCE)');
    await first.stop();
    await writeFile(join(dir, 'start.lock'), '999999999 1 gone\n');
    const second = await start(dir);
    expect(await askOnce(second.url, 'SELECT current_database() AS name')).toEqual([{ name: 'carillon' }]);
    // Its holder's id belongs to another process by now: this one, which began at another time.
    await writeFile(join(dir, 'start.lock'), `${process.pid} 1 gone\n`);
    expect((await start(dir)).adopted).toBe(true);
  });

  it('says what to do about a directory of another version, a lost password, a setting that does not fit', async () => {
    const dir = newDir();
    await (await start(dir)).stop();
    const broken = await expectCode('STORE_UNAVAILABLE', start(dir, { ...FAST, shared_buffers: 'plenty' }));
    expect(broken.message).toMatch(/shared_buffers.*See .*postgres\.log.*CARILLON_DATABASE_URL/s);
    const password = await readFile(join(dir, 'password'));
    await rm(join(dir, 'password'));
    expect((await expectCode('STORE_UNAVAILABLE', start(dir))).message).toContain('Put that file back');
    await writeFile(join(dir, 'password'), 'another\n');
    const stranger = await expectCode('STORE_UNAVAILABLE', start(dir));
    expect(stranger.message).toContain('does not let this program in');
    expect(stranger.message).not.toContain('another');
    await writeFile(join(dir, 'password'), password);
    await writeFile(join(dir, 'data', 'PG_VERSION'), '17\n');
    expect((await expectCode('STORE_UNAVAILABLE', start(dir))).message).toMatch(/PostgreSQL 17, and this program brings PostgreSQL 18.*Dump it/);
  });

  it('says what to do where there is none, and where there is no room or right', async () => {
    for (const platform of [{ platform: 'sunos', arch: 'x64', glibc: true }, { platform: 'linux', arch: 'x64', glibc: false }, { platform: 'linux', arch: 'riscv64', glibc: true }]) {
      expect((await expectCode('STORE_UNAVAILABLE', postgresBinaries(platform))).message).toContain('set CARILLON_DATABASE_URL');
    }
    // One that npm does not install on this machine.
    const elsewhere = process.platform === 'darwin' ? { platform: 'linux', arch: 'ppc64', glibc: true } : { platform: 'darwin', arch: 'x64', glibc: true };
    expect((await expectCode('STORE_UNAVAILABLE', postgresBinaries(elsewhere))).message).toContain('npm ci');
    const where = { dir: '/data/postgres', log: '/data/postgres/postgres.log' };
    expect(faultOfOutput('initdb: error: could not write to file "x": No space left on device', where).message).toContain('Make room there');
    expect(faultOfOutput('FATAL:  could not open file "x": Permission denied', where).message).toContain('own that directory');
    expect(faultOfOutput('FATAL:  could not map anonymous shared memory: Cannot allocate memory', where).message).toContain('more memory');
    expect(faultOfOutput('2026-01-01 UTC [1] FATAL:  could not load x\n2026-01-01 UTC [1] LOG:  shut down', where).message).toContain('FATAL:  could not load x');
    await writeFile(join(directory.path, 'a-file'), '');
    expect((await expectCode('STORE_UNAVAILABLE', start(join(directory.path, 'a-file', 'postgres')))).message).toContain('CARILLON_DATA_DIR');
  });
});

function reachable(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
