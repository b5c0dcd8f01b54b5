import { cp, mkdir, mkdtemp, open as openFile, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { startChild, type Child } from './child.fixture.ts';
import { openOutbox, type Outbox } from './outbox.ts';

const ROUNDS = 8;
const PAGE_BYTES = 4_096;
const META_PAGES = 2;
const quiet = { warn: () => undefined };

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

let root: string;
beforeEach(async () => void (root = await mkdtemp(join(tmpdir(), 'outbox-crash-'))));
afterEach(() => rm(root, { recursive: true, force: true }));

const open = (dir: string): Promise<Outbox> => openOutbox({ dir, log: quiet, maxBytes: 1_000_000_000, overflow: 'refuse' });
const appendAll = (outbox: Outbox, ids: readonly string[]) => Promise.all(ids.map((id) => outbox.append({ id, frame: Buffer.from(`R-${id.length}\n${id.repeat(id.endsWith('7') ? 600 : 30)}`), tagEnd: `R-${id.length}`.length, recordedAtMs: 1 })));

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
    const before = await readFile(join(dir, 'data.mdb'));
    // One commit more, of which the cut lets pages pass as they come, and not the meta page that ends it.
    await appendAll(outbox, Array.from({ length: 300 }, (_, n) => `late-${n}`));
    const after = await readFile(join(dir, 'data.mdb'));
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
      await writeFile(join(cut, 'data.mdb'), file.subarray(0, before.length + Math.floor(random() * (file.length - before.length))));
      const again = await open(cut);
      expect(readAll(again)).toEqual(acked);
      await appendAll(again, ['new']);
      expect(again.frames).toBe(acked.length + 1);
      await again.close();
    }
  });
});

describe('a file that cannot be trusted', { timeout: 120_000 }, () => {
  it('is set aside and told of, what can be read of it is kept, and the outbox goes on', async () => {
    const dir = join(root, 'sound');
    const outbox = await open(dir);
    const ids = Array.from({ length: 2_000 }, (_, n) => `event-${n}`);
    await appendAll(outbox, ids);
    await outbox.close();
    const { length } = await readFile(join(dir, 'data.mdb'));
    const random = seeded(12);
    for (let round = 0; round < 10; round += 1) {
      const cut = join(root, `damaged-${round}`);
      await cp(dir, cut, { recursive: true, filter: (path) => !path.endsWith('.sock') });
      if (round % 2 === 0) {
        await truncate(join(cut, 'data.mdb'), Math.floor(length * (0.2 + 0.7 * random())));
      } else {
        const file = await openFile(join(cut, 'data.mdb'), 'r+');
        await file.write(Buffer.alloc(PAGE_BYTES, 0xff), 0, PAGE_BYTES, PAGE_BYTES * (2 + Math.floor(random() * 20)));
        await file.close();
      }
      const warned: string[] = [];
      const again = await openOutbox({ dir: cut, log: { warn: (_fields, text) => warned.push(text) }, maxBytes: 1_000_000_000, overflow: 'refuse' });
      const there = readAll(again);
      expect(there).toEqual(ids.filter((id) => there.includes(id)));
      await eventually(() => warned.length > 0 || there.length === ids.length);
      expect(there.length).toBeGreaterThan(0);
      await appendAll(again, ['new']);
      expect(readAll(again)).toEqual([...there, 'new']);
      await again.close();
    }
  });
});
