import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, basename, join } from 'node:path';

import { open as openLmdb, type Database } from 'lmdb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startChild } from './child.fixture.ts';
import { dataFile, flipBit, raiseFormat, seeded } from './damaged-file.fixture.ts';
import { openLmdbLog } from './lmdb-log.ts';

const EVENTS = 2_000;
const FLIPS = 60;
const CUTS = 6;
const META_KEY = Buffer.from([0, 0, 0, 1]);
const PAGE_BYTES = 4_096;
// Of a meta page, as in lmdb-meta.ts.
const TABLES_ROOT_AT = 136;
const TXN_AT = 152;
const quiet = { warn: () => undefined };

interface Outcome {
  readonly dir: string;
  readonly events?: number;
  readonly gaps?: readonly string[];
  readonly code?: string;
  readonly text?: string;
}

describe('a damaged log', { timeout: 120_000 }, () => {
  let root: string;
  let sound: string;
  let size: number;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'log-damage-'));
    sound = join(root, 'sound');
    const log = await openLmdbLog({ dir: sound, log: quiet });
    await Promise.all(
      Array.from({ length: EVENTS }, (_, index) => {
        const id = `event-${index}`;
        return log.append({ workspaceId: 'w', room: `r${index % 20}`, id, atMs: index, fields: '', body: Buffer.from(id.repeat(20)) });
      }),
    );
    await log.close();
    ({ size } = await stat(join(sound, 'data.mdb')));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  const copy = async (name: string): Promise<string> => {
    const dir = join(root, name);
    await mkdir(dir);
    await cp(join(sound, 'data.mdb'), join(dir, 'data.mdb'));
    return dir;
  };
  const withNotes = async (dir: string, change: (notes: Database<Buffer, Buffer>) => Promise<unknown>): Promise<void> => {
    const store = openLmdb<Buffer, Buffer>({ path: dir, overlappingSync: false, encoding: 'binary', maxDbs: 16, noSubdir: false });
    await change(store.openDB<Buffer, Buffer>('notes', { encoding: 'binary', keyEncoding: 'binary' }));
    await store.close();
  };
  const outcomes = async (dirs: readonly string[]): Promise<Outcome[]> => {
    const child = startChild('read-all.fixture.ts', dirs);
    const { code, signal, errors } = await child.ended();
    const lines = child.lines().map((line) => JSON.parse(line) as Outcome);
    expect({ code, signal, after: dirs[lines.length], errors: code === 0 ? '' : errors }).toEqual({ code: 0, signal: null, after: undefined, errors: '' });
    return lines;
  };

  it('with a bit that is not what it was says what is missing, or is refused: it never ends the process', async () => {
    const random = seeded(7);
    const dirs: string[] = [];
    for (let index = 0; index < FLIPS; index += 1) {
      const dir = await copy(`flip-${index}`);
      flipBit(dir, Math.floor(random() * size), Math.floor(random() * 8));
      dirs.push(dir);
    }
    const all = await outcomes(dirs);

    for (const { dir, events, gaps = [], code, text } of all) {
      if (code === undefined) expect([dir, events === EVENTS || gaps.some((gap) => gap.startsWith('damaged'))]).toEqual([dir, true]);
      else expect({ dir, code, text }).toEqual({ dir, code: 'LOG_UNAVAILABLE', text: expect.stringMatching(/is damaged/) as unknown });
    }
    expect(all.some(({ events = 0, gaps = [] }) => events > EVENTS / 2 && gaps.length > 0)).toBe(true);
  });

  it('with its end cut off is refused', async () => {
    const random = seeded(8);
    const dirs: string[] = [];
    for (let index = 0; index < CUTS; index += 1) {
      const dir = await copy(`cut-${index}`);
      await truncate(join(dir, 'data.mdb'), Math.max(1, Math.floor(random() * 0.95 * size)));
      dirs.push(dir);
    }
    for (const { dir, code, text } of await outcomes(dirs)) expect({ dir, code, text }).toEqual({ dir, code: 'LOG_UNAVAILABLE', text: expect.stringMatching(/is damaged.*set a damaged log aside/) as unknown });
  });

  it('is set aside when that is asked for, and another epoch begins', async () => {
    const whole = await openLmdbLog({ dir: sound, log: quiet, whenDamaged: 'set-aside' });
    const { epoch, head } = await whole.bounds();
    await whole.close();
    const dir = await copy('aside');
    await truncate(join(dir, 'data.mdb'), Math.floor(size / 2));
    await expect(openLmdbLog({ dir, log: quiet })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    const warned: string[] = [];
    const log = await openLmdbLog({ dir, log: { warn: (_fields, text) => warned.push(text) }, whenDamaged: 'set-aside' });
    const bounds = await log.bounds();
    await log.close();

    expect(head).toBe(EVENTS);
    expect(bounds).toMatchObject({ first: 1, head: 0 });
    expect(bounds.epoch).not.toBe(epoch);
    expect(warned).toEqual(['a damaged log was set aside; another epoch begins']);
    const aside = (await readdir(dirname(dir))).find((name) => name.startsWith(`${basename(dir)}.bad-`)) ?? '';
    expect((await stat(join(root, aside, 'data.mdb'))).size).toBe(Math.floor(size / 2));
  });

  it('that does not say what it is is refused, or set aside', async () => {
    const unreadable = await copy('unreadable');
    await withNotes(unreadable, (notes) => notes.put(META_KEY, Buffer.from('not a note')));
    const missing = await copy('missing');
    await withNotes(missing, (notes) => notes.remove(META_KEY));

    for (const dir of [unreadable, missing]) {
      await expect(openLmdbLog({ dir, log: quiet })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE', message: expect.stringMatching(/is damaged/) as unknown });
      const log = await openLmdbLog({ dir, log: quiet, whenDamaged: 'set-aside' });
      expect(await log.bounds()).toMatchObject({ first: 1, head: 0 });
      await log.close();
    }
  });

  it('that has lost a bit of its meta pages or of the names of its tables is refused, and stays as it is', async () => {
    const bytes = await readFile(dataFile(sound));
    const latest = bytes.readBigUInt64LE(TXN_AT) > bytes.readBigUInt64LE(PAGE_BYTES + TXN_AT) ? 0 : PAGE_BYTES;
    const tables = Number(bytes.readBigUInt64LE(latest + TABLES_ROOT_AT)) * PAGE_BYTES;
    // Each of them ended the process, or was an empty table or an older state that nobody was told of.
    const flips: [number, number][] = [
      [18, 3], [PAGE_BYTES + 18, 3], [latest + 52, 2], [latest + 53, 5], [latest + 100, 1], [latest + TABLES_ROOT_AT, 0], [latest + 148, 1], [latest + 149, 0], [PAGE_BYTES - latest + TXN_AT, 3],
      ...['notes', 'events', 'index', 'ids', 'rooms', 'workspaces', 'owed'].flatMap((name): [number, number][] => [0, name.length].map((at) => [tables + bytes.subarray(tables).indexOf(`${name}\0`) + at, 1])),
    ];
    const dirs: string[] = [];
    for (const [at, bit] of flips) {
      const dir = await copy(`lost-${at}-${bit}`);
      flipBit(dir, at, bit);
      dirs.push(dir);
    }
    for (const { dir, code, text } of await outcomes(dirs)) expect({ dir, code, text }).toEqual({ dir, code: 'LOG_UNAVAILABLE', text: expect.stringMatching(/is damaged/) as unknown });
    for (const [index, [at, bit]] of flips.entries()) {
      const dir = dirs[index] ?? '';
      flipBit(dir, at, bit);
      expect([dir, bytes.equals(await readFile(dataFile(dir)))]).toEqual([dir, true]);
    }
  });

  it('of a later format is refused with a sentence, and stays as it is', async () => {
    const dir = await copy('later');
    raiseFormat(dir);
    const before = await readFile(dataFile(dir));
    for (const whenDamaged of ['refuse', 'set-aside'] as const) {
      await expect(openLmdbLog({ dir, log: quiet, whenDamaged })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE', message: expect.stringMatching(/is of format 2; this version reads up to 1\. Run the version that wrote it/) as unknown });
    }
    expect(before.equals(await readFile(dataFile(dir)))).toBe(true);
  });

  it('says what its owner can do about it', async () => {
    const dir = await copy('advised');
    await truncate(dataFile(dir), Math.floor(size / 2));
    await expect(openLmdbLog({ dir, log: quiet, damagedAdvice: 'Ask the operator.' })).rejects.toMatchObject({ message: expect.stringMatching(/is damaged: its file is cut off.*\. Ask the operator\.$/) as unknown });
  });
});
