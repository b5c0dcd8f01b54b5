import { cp, mkdir, mkdtemp, open as openFile, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { startChild, type Child } from './child.fixture.ts';
import { damageMetaPage, dataFile, flipBit, seeded } from './damaged-file.fixture.ts';
import { eventOfId, type OutboxOutcome } from './outbox-event.fixture.ts';
import { openOutbox, type Outbox } from './outbox.ts';

const ROUNDS = 8;
const PAGE_BYTES = 4_096;
const META_PAGES = 2;
const FLIPS = 60;
// Of a meta page, as in lmdb-meta.ts.
const TABLES_ROOT_AT = 136;
const TXN_AT = 152;
const quiet = { warn: () => undefined };

let root: string;
beforeEach(async () => void (root = await mkdtemp(join(tmpdir(), 'outbox-crash-'))));
afterEach(() => rm(root, { recursive: true, force: true }));

const open = (dir: string): Promise<Outbox> => openOutbox({ dir, log: quiet, maxBytes: 1_000_000_000, overflow: 'refuse' });
const appendAll = (outbox: Outbox, ids: readonly string[]) => Promise.all(ids.map((id) => outbox.append(eventOfId(id))));
/** Opens each in a process of its own, reads all, writes to it, and opens it again. */
async function outcomes(dirs: readonly string[]): Promise<OutboxOutcome[]> {
  const child = startChild('outbox-read-all.fixture.ts', dirs);
  const { code, signal, errors } = await child.ended();
  const lines = child.lines().map((line) => JSON.parse(line) as OutboxOutcome);
  expect({ code, signal, after: dirs[lines.length], errors: code === 0 ? '' : errors }).toEqual({ code: 0, signal: null, after: undefined, errors: '' });
  return lines;
}

function readAll(outbox: Outbox): string[] {
  const ids: string[] = [];
  for (let after = 0; ; ) {
    const page = outbox.next(after, 1_000);
    if (page.length === 0) return ids;
    ids.push(...page.map(({ id }) => id));
    after = page.at(-1)?.key ?? 0;
  }
}

describe('a process that is killed', { timeout: 240_000 }, () => {
  let child: Child | undefined;
  afterEach(() => child?.kill());

  it(`loses nothing that it was told is kept, ${ROUNDS} times`, async () => {
    const owed = new Set<string>();
    const asked = new Set<string>();
    for (let round = 0; round < ROUNDS; round += 1) {
      child = startChild('outbox-until-killed.fixture.ts', [root, `round-${round}`]);
      await child.prints('ready');
      const enough = 200 + 500 * (round % 4);
      await eventually(() => (child?.lines().length ?? 0) > enough, { intervalMs: 1 });
      await child.kill();
      for (const line of child.lines()) {
        const [kind, id = ''] = line.split(' ');
        if (kind === 'a') owed.add(id);
        if (kind === 's') asked.add(id);
      }
      const outbox = await open(root);
      const there = readAll(outbox);
      await outbox.close();
      expect(new Set(there).size).toBe(there.length);
      expect([...owed].filter((id) => !asked.has(id) && !there.includes(id))).toEqual([]);
      expect(outbox.frames).toBe(there.length);
    }
    expect(owed.size).toBeGreaterThan(ROUNDS * 100);
  });
});

describe('a power cut', { timeout: 120_000 }, () => {
  it('leaves what was kept, wherever in a commit it comes', async () => {
    const dir = join(root, 'sound');
    const outbox = await open(dir);
    const acked = Array.from({ length: 500 }, (_, n) => `acked-${n}`);
    await appendAll(outbox, acked);
    const before = await readFile(dataFile(dir));
    // One commit more, of which the cut lets pages pass as they come, and not the meta page that ends it.
    await appendAll(outbox, Array.from({ length: 300 }, (_, n) => `late-${n}`));
    const after = await readFile(dataFile(dir));
    await outbox.close();

    const random = seeded(11);
    for (let round = 0; round < 30; round += 1) {
      const file = Buffer.alloc(Math.max(before.length, after.length));
      before.copy(file);
      for (let page = META_PAGES; page * PAGE_BYTES < after.length; page += 1) {
        if (random() < round / 30) after.copy(file, page * PAGE_BYTES, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      }
      const cut = join(root, `cut-${round}`);
      await mkdir(cut);
      await writeFile(dataFile(cut), file.subarray(0, before.length + Math.floor(random() * (file.length - before.length))));
      const again = await open(cut);
      expect(readAll(again)).toEqual(acked);
      await appendAll(again, ['new-1']);
      expect(again.frames).toBe(acked.length + 1);
      await again.close();
    }
  });

  it('of a disk that has not kept its word costs nothing that was kept before the commits that it cuts, at whatever byte', async () => {
    const dir = join(root, 'sound');
    const outbox = await open(dir);
    const commits = Array.from({ length: 6 }, (_, commit) => Array.from({ length: 40 }, (__, n) => `event-${commit * 40 + n}`));
    const files: Buffer[] = [];
    for (const ids of commits) {
      await appendAll(outbox, ids);
      files.push(await readFile(dataFile(dir)));
    }
    await outbox.close();
    const whole = commits.flat();

    const random = seeded(21);
    const keptBefore: string[][] = [];
    const dirs: string[] = [];
    const cutAt = async (commit: number, at: number): Promise<void> => {
      const cut = join(root, `cut-${commit}-${at}`);
      await mkdir(cut);
      await writeFile(dataFile(cut), (files[commit] ?? Buffer.alloc(0)).subarray(0, at));
      dirs.push(cut);
      keptBefore.push(commits.slice(0, files.findIndex((file) => file.length > at)).flat());
    };
    for (const [last, commitsCut] of [[5, 1], [4, 2], [3, 1]] as const) {
      const [from, to] = [files[last - commitsCut]?.length ?? 0, files[last]?.length ?? 0];
      for (let at = from; at < to; at += PAGE_BYTES) {
        await cutAt(last, at);
        if (random() < 0.3) await cutAt(last, at + 1 + Math.floor(random() * (PAGE_BYTES - 1)));
      }
    }
    const all = await outcomes(dirs);
    for (const [index, { dir: cut, ids = [], strange, warned, idsThen = [] }] of all.entries()) {
      const kept = keptBefore[index] ?? [];
      expect({ cut, strange, isToldOf: warned?.includes('a damaged outbox was set aside; what can be read of it is taken over') }).toEqual({ cut, strange: 0, isToldOf: true });
      expect({ cut, lost: kept.filter((id) => !ids.includes(id)), ids }).toEqual({ cut, lost: [], ids: whole.filter((id) => ids.includes(id)) });
      // Four were settled and one was buried.
      expect([cut, idsThen]).toEqual([cut, [...ids.slice(4, 5), ...ids.slice(6), 'new-1']]);
    }
    expect(all.length).toBeGreaterThan(40);
  });
});

describe('a file that cannot be trusted', { timeout: 120_000 }, () => {
  it('is set aside and told of, what can be read of it is kept, and the outbox goes on', async () => {
    const dir = join(root, 'sound');
    const outbox = await open(dir);
    const ids = Array.from({ length: 2_000 }, (_, n) => `event-${n}`);
    await appendAll(outbox, ids);
    await outbox.close();
    const { length } = await readFile(dataFile(dir));
    const random = seeded(12);
    for (let round = 0; round < 10; round += 1) {
      const cut = join(root, `damaged-${round}`);
      await cp(dir, cut, { recursive: true, filter: (path) => !path.endsWith('.sock') });
      if (round % 2 === 0) {
        await truncate(dataFile(cut), Math.floor(length * (0.2 + 0.7 * random())));
      } else {
        const file = await openFile(dataFile(cut), 'r+');
        await file.write(Buffer.alloc(PAGE_BYTES, 0xff), 0, PAGE_BYTES, PAGE_BYTES * (2 + Math.floor(random() * 20)));
        await file.close();
      }
      const warned: string[] = [];
      const again = await openOutbox({ dir: cut, log: { warn: (_fields, text) => warned.push(text) }, maxBytes: 1_000_000_000, overflow: 'refuse' });
      const there = readAll(again);
      expect(there).toEqual(ids.filter((id) => there.includes(id)));
      await eventually(() => warned.length > 0 || there.length === ids.length);
      expect(there.length).toBeGreaterThan(0);
      await appendAll(again, ['new-1']);
      expect(readAll(again)).toEqual([...there, 'new-1']);
      await again.close();
    }
  });

  it('is taken over anew when the start that did it was ended in the middle', async () => {
    const dir = join(root, 'sound');
    const outbox = await open(dir);
    const ids = Array.from({ length: 200 }, (_, n) => `event-${n}`);
    await appendAll(outbox, ids);
    await outbox.close();
    damageMetaPage(dir);
    // As it is left by such a start: the damaged file under its other name, and a new one with some of the events.
    await rename(dataFile(dir), `${dataFile(dir)}.salvage`);
    const begun = join(root, 'begun');
    const partial = await open(begun);
    await appendAll(partial, ids.slice(0, 20));
    await partial.close();
    await rename(dataFile(begun), dataFile(dir));

    const again = await open(dir);
    expect(readAll(again)).toEqual(ids);
    await appendAll(again, ['new-1']);
    await again.close();
    const names = await readdir(dir);
    expect([names.includes('data.mdb.salvage'), names.filter((name) => name.startsWith('data.mdb.bad-')).length]).toEqual([false, 1]);
    const then = await open(dir);
    expect(readAll(then)).toEqual([...ids, 'new-1']);
    await then.close();
  });

  it('because of a bit that is not what it was says what it has lost, and never ends the process', async () => {
    const dir = join(root, 'sound');
    const outbox = await open(dir);
    const ids = Array.from({ length: 600 }, (_, n) => `event-${n}`);
    for (let at = 0; at < ids.length; at += 100) await appendAll(outbox, ids.slice(at, at + 100));
    await outbox.settle(outbox.next(0, 50).map(({ key }) => key));
    await outbox.close();
    const bytes = await readFile(dataFile(dir));
    const owed = ids.slice(50);

    const random = seeded(22);
    const anywhere = Array.from({ length: FLIPS }, (): [number, number] => [Math.floor(random() * bytes.length), Math.floor(random() * 8)]);
    // Where a bit ended the process, led back to an earlier commit, or made a table an empty one.
    const latest = bytes.readBigUInt64LE(TXN_AT) > bytes.readBigUInt64LE(PAGE_BYTES + TXN_AT) ? 0 : PAGE_BYTES;
    const tables = Number(bytes.readBigUInt64LE(latest + TABLES_ROOT_AT)) * PAGE_BYTES;
    const names = ['notes', 'records', 'rooms', 'latest', 'dead'].flatMap((name): [number, number][] => [0, name.length].map((at) => [tables + bytes.subarray(tables).indexOf(`${name}\0`) + at, 1]));
    const metas: [number, number][] = [[latest + 18, 3], [latest + 52, 2], [latest + 53, 5], [latest + 100, 1], [latest + TABLES_ROOT_AT, 3], [latest + 148, 1], [latest + 149, 0], [PAGE_BYTES - latest + TXN_AT, 3]];
    const dirs: string[] = [];
    for (const [at, bit] of [...anywhere, ...metas, ...names]) {
      const flipped = join(root, `flip-${at}-${bit}`);
      await mkdir(flipped);
      await writeFile(dataFile(flipped), bytes);
      flipBit(flipped, at, bit);
      dirs.push(flipped);
    }
    let lost = 0;
    for (const { dir: flipped, ids: there = [], strange, warned = [], idsThen = [], code } of await outcomes(dirs)) {
      if (code !== undefined) {
        expect([flipped, code]).toEqual([flipped, 'LOG_UNAVAILABLE']);
        continue;
      }
      // What was settled may come again from pages that were free by then.
      expect({ flipped, strange, there }).toEqual({ flipped, strange: 0, there: ids.filter((id) => there.includes(id)) });
      expect({ flipped, isToldOf: owed.every((id) => there.includes(id)) || warned.length > 0 }).toEqual({ flipped, isToldOf: true });
      expect([flipped, idsThen]).toEqual([flipped, [...there.slice(4, 5), ...there.slice(6), 'new-1']]);
      lost += owed.filter((id) => !there.includes(id)).length;
    }
    expect(lost).toBeGreaterThan(0);
  });
});
