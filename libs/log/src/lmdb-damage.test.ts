import { cp, mkdir, mkdtemp, open, readdir, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, basename, join } from 'node:path';

import { open as openLmdb, type Database } from 'lmdb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startChild } from './child.fixture.ts';
import { openLmdbLog } from './lmdb-log.ts';
import { writeNote } from './lmdb-records.ts';
import { FORMAT_VERSION } from './lmdb-store.ts';

const EVENTS = 2_000;
const FLIPS = 60;
const CUTS = 6;
const META_KEY = Buffer.from([0, 0, 0, 1]);
const quiet = { warn: () => undefined };

interface Outcome {
  readonly dir: string;
  readonly events?: number;
  readonly gaps?: readonly string[];
  readonly code?: string;
  readonly text?: string;
}

/** Numbers in [0, 1) that are the same each time (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
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
  const flip = async (dir: string, at: number, bit: number): Promise<void> => {
    const file = await open(join(dir, 'data.mdb'), 'r+');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ (1 << bit);
    await file.write(byte, 0, 1, at);
    await file.close();
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
      await flip(dir, Math.floor(random() * size), Math.floor(random() * 8));
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
    const notesOf = async (dir: string, change: (notes: Database<Buffer, Buffer>) => Promise<unknown>): Promise<void> => {
      const store = openLmdb<Buffer, Buffer>({ path: dir, overlappingSync: false, encoding: 'binary', maxDbs: 16 });
      await change(store.openDB<Buffer, Buffer>('notes', { encoding: 'binary', keyEncoding: 'binary' }));
      await store.close();
    };
    const unreadable = await copy('unreadable');
    await notesOf(unreadable, (notes) => notes.put(META_KEY, Buffer.from('not a note')));
    const missing = await copy('missing');
    await notesOf(missing, (notes) => notes.remove(META_KEY));

    for (const dir of [unreadable, missing]) {
      await expect(openLmdbLog({ dir, log: quiet })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE', message: expect.stringMatching(/is damaged/) as unknown });
      const log = await openLmdbLog({ dir, log: quiet, whenDamaged: 'set-aside' });
      expect(await log.bounds()).toMatchObject({ first: 1, head: 0 });
      await log.close();
    }
  });

  it('of a later format is refused with a sentence', async () => {
    const dir = join(root, 'later');
    await (await openLmdbLog({ dir, log: quiet })).close();
    const store = openLmdb<Buffer, Buffer>({ path: dir, overlappingSync: false, encoding: 'binary', maxDbs: 16 });
    const notes = store.openDB<Buffer, Buffer>('notes', { encoding: 'binary', keyEncoding: 'binary' });
    await notes.put(META_KEY, writeNote({ format: FORMAT_VERSION + 1, epoch: 'later' }));
    await store.close();

    await expect(openLmdbLog({ dir, log: quiet })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE', message: expect.stringMatching(/is of format 2; this version reads up to 1/) as unknown });
  });
});
