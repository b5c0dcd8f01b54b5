import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { AccessCopyFile, type AccessLog } from './index.ts';
import { CopyFixture, definitionEntry, principalOf, workspaceEntry } from './records.fixture.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'access-copy-'));
  path = join(folder, 'access', 'hub.json');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A file over a copy of its own, and what it logs. */
function fileOver(fixture: CopyFixture) {
  const lines: Parameters<AccessLog>[0][] = [];
  return { file: new AccessCopyFile({ path, copy: fixture.copy, log: (line) => lines.push(line) }), lines };
}

async function loaded() {
  const fixture = new CopyFixture();
  const { file, lines } = fileOver(fixture);
  return { fixture, lines, count: await file.load() };
}

/** Writes a copy with a key, a definition and a tombstone. */
async function written() {
  const fixture = new CopyFixture();
  const { file, lines } = fileOver(fixture);
  file.start();
  const { key } = fixture.key({ limits: { connections: 7 } });
  fixture.put(definitionEntry({ title: 'λ\n"' }));
  fixture.remove({ type: 'room', workspaceId: 'w1', id: 'r1' });
  await file.close();
  return { fixture, key, lines };
}

describe('a copy in a file', () => {
  it('comes back as it was', async () => {
    const { fixture, key, lines } = await written();
    const back = await loaded();
    expect([back.count, back.lines, lines]).toEqual([4, [], []]);
    expect(back.fixture.records()).toEqual(fixture.records());
    expect(back.fixture.copy.seq).toBe(4);
    expect(principalOf(back.fixture.copy, key).limits).toEqual({ connections: 7 });
  });

  it('holds no key, and is its owner\'s alone, also where the folder was open', async () => {
    await mkdir(join(folder, 'access'), { mode: 0o755 });
    const { key } = await written();
    expect((await readFile(path, 'utf8')).includes(key.slice(-43))).toBe(false);
    expect([(await stat(path)).mode & 0o777, (await stat(join(folder, 'access'))).mode & 0o777]).toEqual([0o600, 0o700]);
    expect(await readdir(join(folder, 'access'))).toEqual(['hub.json']);
  });

  it('is nothing at first', async () => {
    expect(await loaded()).toMatchObject({ count: 0, lines: [] });
  });

  it('is written by itself soon after a change, once for many', async () => {
    const fixture = new CopyFixture();
    const { file } = fileOver(fixture);
    file.start();
    file.start();
    for (let change = 0; change < 100; change += 1) fixture.put(workspaceEntry('w1', { limits: { rooms: change + 1 } }));
    await eventually(async () => expect((await loaded()).fixture.copy.workspace('w1')?.limits).toEqual({ rooms: 100 }));
    fixture.put(workspaceEntry('w2'));
    await eventually(async () => expect((await loaded()).count).toBe(2));
    await file.close();
  });

  it('is not written when nothing has changed, nor before start, nor after close', async () => {
    const fixture = new CopyFixture();
    const { file } = fileOver(fixture);
    fixture.put(workspaceEntry('w1'));
    file.start();
    await Promise.all([file.close(), file.close()]);
    fixture.put(workspaceEntry('w2'));
    file.start();
    fixture.put(workspaceEntry('w3'));
    await file.close();
    expect(await readdir(folder)).toEqual([]);
  });

  it('comes back as it was before a crash in the middle of a write', async () => {
    const { fixture } = await written();
    const whole = await readFile(path);
    await writeFile(`${path}.new`, whole.subarray(0, 100));
    const back = await loaded();
    expect([back.count, back.lines]).toEqual([4, []]);
    const { file } = fileOver(back.fixture);
    file.start();
    back.fixture.copy.apply('w9.workspace.w9', { seq: 99, entry: workspaceEntry('w9') });
    await file.close();
    expect((await loaded()).count).toBe(fixture.records().length + 1);
    expect(await readdir(join(folder, 'access'))).toEqual(['hub.json']);
  });

  it('is large without holding everybody up', async () => {
    const fixture = new CopyFixture();
    const { file } = fileOver(fixture);
    file.start();
    for (let at = 0; at < 5_000; at += 1) fixture.put(workspaceEntry(`w${at}`));
    await file.close();
    expect((await loaded()).count).toBe(5_000);
  });
});

describe('a damaged file', () => {
  const isSetAside = async (bytes: Buffer | string) => {
    await writeFile(path, bytes);
    const { count, lines, fixture } = await loaded();
    expect([count, fixture.records(), lines.map(({ level, text }) => [level, text])]).toEqual([0, [], [['error', 'The access copy cannot be used and was set aside']]]);
    expect((await readFile(`${path}.bad`)).equals(Buffer.from(bytes as string))).toBe(true);
    expect(await loaded()).toMatchObject({ count: 0, lines: [] });
  };

  it('is set aside when it is cut at any byte', async () => {
    await written();
    const whole = await readFile(path);
    for (let length = 0; length < whole.length; length += 1) await isSetAside(whole.subarray(0, length));
  });

  it('is set aside when any bit has flipped', async () => {
    await written();
    const whole = await readFile(path);
    for (let at = 0; at < whole.length; at += 1) {
      const flipped = Buffer.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      await isSetAside(flipped);
    }
  });

  it.each(['', '\n', '\n\n\n', 'null\n', '{"format":"carillon-access-copy","version":2,"records":0}\nwhatever this will be\n', '{"format":"another"}\n{}\n', '\0'.repeat(5_000)])('is set aside when it is %j', async (text) => {
    await mkdir(join(folder, 'access'));
    await isSetAside(text);
  });

  it('is written anew with the next change', async () => {
    await mkdir(join(folder, 'access'));
    await isSetAside('x');
    await written();
    expect((await loaded()).count).toBe(4);
  });
});

describe('a disk that fails', () => {
  it('is reported when the file cannot be read', async () => {
    await mkdir(path, { recursive: true });
    expect(await loaded()).toMatchObject({ count: 0, lines: [{ level: 'error', text: 'The access copy could not be read' }] });
  });

  it('is reported once, and the file is written when it can be', async () => {
    // A file where the folder should be, and later a folder where the file should be: two kinds of failure, for root too.
    await writeFile(join(folder, 'access'), '');
    const fixture = new CopyFixture();
    const { file, lines } = fileOver(fixture);
    file.start();
    fixture.put(workspaceEntry('w1'));
    await eventually(() => expect(lines).toHaveLength(1));
    fixture.put(workspaceEntry('w2'));
    await rm(join(folder, 'access'));
    await mkdir(`${path}.new`, { recursive: true });
    await eventually(() => { fixture.put(workspaceEntry('w3')); expect(lines).toHaveLength(2); });
    fixture.put(workspaceEntry('w4'));
    await chmod(join(folder, 'access'), 0o700);
    await rm(`${path}.new`, { recursive: true });
    await file.close();
    expect(lines.map(({ fields }) => fields['code'])).toEqual([expect.stringMatching(/EEXIST|ENOTDIR/), 'EISDIR']);
    expect((await loaded()).count).toBe(4);
  });

  it('is tried once more at the end', async () => {
    await writeFile(join(folder, 'access'), '');
    const fixture = new CopyFixture();
    const { file, lines } = fileOver(fixture);
    file.start();
    fixture.put(workspaceEntry('w1'));
    await eventually(() => expect(lines).toHaveLength(1));
    await rm(join(folder, 'access'));
    await file.close();
    expect((await loaded()).count).toBe(1);
  });
});
