import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually } from '@carillon/testing';
import { open as openLmdb } from 'lmdb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { dataFile, raiseFormat } from './damaged-file.fixture.ts';
import { openOutbox, type OpenOutboxOptions, type Outbox, type OutboxEvent } from './outbox.ts';

let dir: string;
let outbox: Outbox;
let warned: string[];
const open = async (options: Partial<OpenOutboxOptions> = {}): Promise<Outbox> => {
  outbox = await openOutbox({ dir, log: { warn: (_fields, text) => warned.push(text) }, maxBytes: 100_000_000, overflow: 'drop-oldest', clock: () => 5_000, ...options });
  return outbox;
};
const eventOf = (id: string, room = 'R', body = id): OutboxEvent => ({ id, frame: Buffer.from(`${room}\n${body}`), tagEnd: Buffer.byteLength(room), recordedAtMs: 1_000 });
const ids = (after = 0): string[] => outbox.next(after, 1_000_000).map(({ id }) => id);
const append = (...names: string[]) => Promise.all(names.map((id) => outbox.append(eventOf(id))));
/** What a record of `eventOf` takes. */
const bytesOfOne = async (): Promise<number> => {
  const before = outbox.bytes;
  const { record } = await outbox.append(eventOf('0'));
  const bytes = outbox.bytes - before;
  await outbox.settle([record.key]);
  return bytes;
};

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'outbox-'));
  warned = [];
});
afterEach(async () => {
  await outbox.close();
  await rm(dir, { recursive: true, force: true });
});

describe('an outbox', () => {
  it('hands out what was appended, in order, with all that was said of it', async () => {
    await open();
    const event: OutboxEvent = { ...eventOf('a', 'é 7', 'body\n'), eventAtMs: 12.5, clockOffsetMs: -3 };
    const [first, second] = await Promise.all([outbox.append(event), outbox.append(eventOf('b'))]);
    expect(outbox.next(0, 10)).toEqual([{ ...event, key: first.record.key }, { ...eventOf('b'), key: second.record.key, eventAtMs: undefined, clockOffsetMs: undefined }]);
    expect(outbox.next(first.record.key, 10).map(({ id }) => id)).toEqual(['b']);
    expect(outbox.next(0, 1).map(({ id }) => id)).toEqual(['a']);
    expect(first.record).toEqual(outbox.next(0, 1)[0]);
  });

  it('copies what it is given', async () => {
    await open();
    const event = eventOf('a');
    const kept = outbox.append(event);
    (event.frame as Buffer).fill(0);
    await kept;
    expect(outbox.next(0, 1)[0]?.frame.toString()).toBe('R\na');
  });

  it('tells which event of its room was the last one before', async () => {
    await open();
    const [a, b, c] = await Promise.all([outbox.append(eventOf('a', 'R')), outbox.append(eventOf('b', 'S')), outbox.append(eventOf('c', 'R'))]);
    expect([a.prevKey, b.prevKey, c.prevKey]).toEqual([0, 0, a.record.key]);
    await outbox.settle([a.record.key, c.record.key]);
    expect((await outbox.append(eventOf('d', 'R'))).prevKey).toBe(0);
    expect((await outbox.append(eventOf('e', 'S'))).prevKey).toBe(b.record.key);
  });

  it('is what it was after it was closed and opened', async () => {
    await open();
    const kept = await append('a', 'b', 'c');
    await outbox.settle([kept[1]?.record.key ?? 0]);
    const { frames, bytes, lastKey } = outbox;
    await outbox.close();
    await open();
    expect([outbox.frames, outbox.bytes, outbox.lastKey]).toEqual([frames, bytes, lastKey]);
    expect(ids()).toEqual(['a', 'c']);
    await append('d');
    expect(ids()).toEqual(['a', 'c', 'd']);
    expect((await outbox.append(eventOf('e'))).prevKey).toBe(outbox.lastKey - 1);
  });

  it('does not hand out what is being settled, and holds nothing in the end', async () => {
    await open();
    const kept = await append('a', 'b', 'c');
    const settled = outbox.settle(kept.slice(0, 2).map(({ record }) => record.key));
    expect(ids()).toEqual(['c']);
    await settled;
    await outbox.settle([kept[2]?.record.key ?? 0, 999]);
    expect([outbox.frames, outbox.bytes, ids()]).toEqual([0, 0, []]);
  });

  it('shares commits among what is appended at once', async () => {
    await open();
    await Promise.all(Array.from({ length: 2_000 }, (_, n) => outbox.append(eventOf(`${n}`))));
    expect(outbox.frames).toBe(2_000);
    expect(outbox.counts.commits).toBeLessThan(20);
  });

  it('says how long the oldest has waited', async () => {
    await open();
    expect(outbox.oldestUnsentAgeMs).toBe(0);
    await append('a');
    expect(outbox.oldestUnsentAgeMs).toBe(4_000);
  });

  it('takes nothing once it is closed', async () => {
    await open();
    await outbox.close();
    await expect(outbox.append(eventOf('a'))).rejects.toMatchObject({ name: 'OutboxError', code: 'LOG_UNAVAILABLE' });
    expect([outbox.next(0, 1), outbox.dead(1), outbox.oldestUnsentAgeMs]).toEqual([[], [], 0]);
    await outbox.close();
  });

  it('is one process\'s', async () => {
    await open();
    await expect(openOutbox({ dir, log: { warn: () => undefined }, maxBytes: 1_000, overflow: 'refuse' })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  });

  it('refuses what has no room, or one that is too long', async () => {
    await open();
    for (const event of [{ ...eventOf('a'), tagEnd: 0 }, eventOf('a', 'R'.repeat(1_025))]) await expect(outbox.append(event)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await outbox.append(eventOf('b', 'R'.repeat(1_024)));
    expect(ids()).toEqual(['b']);
  });

  it('refuses what would wait for the disk beyond its bound', async () => {
    await open({ waitingMaxBytes: 10_000 });
    const large = (id: string) => outbox.append(eventOf(id, 'R', 'x'.repeat(6_000)));
    const [first, second] = await Promise.allSettled([large('a'), large('b')]);
    expect([first?.status, second]).toMatchObject(['fulfilled', { status: 'rejected', reason: { code: 'UPSTREAM_QUEUE_FULL' } }]);
    expect(outbox.counts.refused).toBe(1);
    await large('c');
    expect(ids()).toEqual(['a', 'c']);
  });
});

describe('an outbox at its bound', () => {
  it('drops the oldest', async () => {
    await open();
    const one = await bytesOfOne();
    await outbox.close();
    await open({ maxBytes: 3 * one });
    await append('a', 'b', 'c');
    expect(outbox.fits(1)).toBe(false);
    await append('d', 'e');
    expect([ids(), outbox.counts.dropped, outbox.frames, outbox.bytes]).toEqual([['c', 'd', 'e'], 2, 3, 3 * one]);
    await append('f', 'g', 'h', 'i', 'j');
    expect([ids(), outbox.counts.dropped]).toEqual([['h', 'i', 'j'], 7]);
    await expect(outbox.append(eventOf('k', 'R', 'x'.repeat(1_000)))).rejects.toMatchObject({ code: 'UPSTREAM_QUEUE_FULL' });
    expect(ids()).toEqual(['h', 'i', 'j']);
  });

  it('refuses new ones', async () => {
    await open();
    const one = await bytesOfOne();
    await outbox.close();
    await open({ maxBytes: 3 * one, overflow: 'refuse' });
    const kept = await append('a', 'b', 'c');
    await expect(outbox.append(eventOf('d'))).rejects.toMatchObject({ code: 'UPSTREAM_QUEUE_FULL' });
    expect([ids(), outbox.counts.refused]).toEqual([['a', 'b', 'c'], 1]);
    await outbox.settle([kept[0]?.record.key ?? 0]);
    await append('e');
    expect(ids()).toEqual(['b', 'c', 'e']);
  });

  it('keeps the latest of a room and key that was not handed out yet, and refuses then', async () => {
    const keyOf = ({ frame, tagEnd }: OutboxEvent): string | undefined => /^\w+/.exec(Buffer.from(frame).toString('utf8', tagEnd + 1))?.[0];
    const keep = { overflow: 'keep-latest-per-key', keyOf } as const;
    await open(keep);
    await outbox.append(eventOf('a', 'R', 'power 1'));
    await outbox.append(eventOf('b', 'R', 'input 1'));
    await outbox.append(eventOf('c', 'S', 'power 1'));
    await outbox.append(eventOf('d', 'R', 'power 2'));
    await Promise.all([outbox.append(eventOf('e', 'R', '!')), outbox.append(eventOf('f', 'R', '!')), outbox.append(eventOf('g', 'R', 'power 3')), outbox.append(eventOf('h', 'R', 'power 4'))]);
    expect([outbox.counts.replaced, ids()]).toEqual([3, ['b', 'c', 'e', 'f', 'h']]);
    // All of these were handed out: they may be on their way.
    await outbox.append(eventOf('i', 'R', 'power 5'));
    expect(ids()).toEqual(['b', 'c', 'e', 'f', 'h', 'i']);
    const { bytes } = outbox;
    await outbox.close();

    await open({ ...keep, maxBytes: bytes });
    await expect(outbox.append(eventOf('j', 'R', 'other 1'))).rejects.toMatchObject({ code: 'UPSTREAM_QUEUE_FULL' });
    await outbox.append(eventOf('k', 'R', 'power 6'));
    expect(ids()).toEqual(['b', 'c', 'e', 'f', 'h', 'k']);
  });
});

describe('what a hub refused for good', () => {
  it('is kept to be looked at, the last thousand', async () => {
    await open();
    const [kept] = await Promise.all([outbox.append(eventOf('a', 'R', 'x'.repeat(5_000))), append('b')]);
    await outbox.bury(kept.record.key, 'SEND_DENIED');
    expect(ids()).toEqual(['b']);
    expect(outbox.dead(10)).toEqual([{ id: 'a', room: 'R', code: 'SEND_DENIED', atMs: 5_000, recordedAtMs: 1_000, bytes: 5_002, body: 'x'.repeat(1_024) }]);
    const more = await Promise.all(Array.from({ length: 1_005 }, (_, n) => outbox.append(eventOf(`m${n}`))));
    await Promise.all(more.map(({ record }) => outbox.bury(record.key, 'EVENT_TOO_LARGE')));
    await outbox.close();
    await open();
    const dead = outbox.dead(2_000).map(({ id }) => id);
    expect([dead.length, dead[0], dead.at(-1), outbox.deadFrames, outbox.frames]).toEqual([1_000, 'm1004', 'm5', 1_000, 1]);
  });
});

describe('an outbox of a later format', () => {
  it('is refused with a sentence, and left alone', async () => {
    await open();
    await append('a');
    await outbox.close();
    const sound = await readFile(dataFile(dir));
    raiseFormat(dir);
    // What it has besides is not known here.
    const store = openLmdb({ path: dir, overlappingSync: false, maxDbs: 16, noSubdir: false });
    store.openDB('tomorrow', {});
    await store.close();
    const later = await readFile(dataFile(dir));
    await expect(open()).rejects.toMatchObject({ name: 'OutboxError', code: 'LOG_UNAVAILABLE', message: expect.stringMatching(/is of format 2; this version reads up to 1\. Run the version that wrote it, or a later one\.$/) as unknown });
    expect(later.equals(await readFile(dataFile(dir)))).toBe(true);
    await writeFile(dataFile(dir), sound);
    await open();
    expect(ids()).toEqual(['a']);
  });
});

describe('damaged totals', () => {
  it.each(['cannot be read', 'are not there'])('are counted anew when they %s', async (what) => {
    await open();
    const kept = await append('a', 'b', 'c');
    await outbox.bury(kept[0]?.record.key ?? 0, 'SEND_DENIED');
    const { frames, bytes, lastKey, deadFrames } = outbox;
    await outbox.close();
    if (what === 'cannot be read') {
      const file = await readFile(dataFile(dir));
      for (let at = file.indexOf('{"format":1,'); at !== -1; at = file.indexOf('{"format":1,', at + 1)) file[at + 3] = 0;
      await writeFile(dataFile(dir), file);
    } else {
      const store = openLmdb({ path: dir, overlappingSync: false, maxDbs: 16, noSubdir: false });
      await store.openDB<Buffer, Buffer>('notes', { encoding: 'binary', keyEncoding: 'binary' }).remove(Buffer.from([0, 0, 0, 1]));
      await store.close();
    }
    await open();
    expect([outbox.frames, outbox.bytes, outbox.lastKey, outbox.deadFrames]).toEqual([frames, bytes, lastKey, deadFrames]);
    await append('d');
    expect(ids()).toEqual(['b', 'c', 'd']);
  });
});

describe('a damaged record', () => {
  it('is passed over, counted, told of and taken out', async () => {
    await open();
    const kept = await append('a', 'body-that-is-hit', 'c');
    await outbox.close();
    const file = await readFile(dataFile(dir));
    for (let at = file.indexOf('body-that-is-hit'); at !== -1; at = file.indexOf('body-that-is-hit', at + 1)) file[at + 3] = 0;
    await writeFile(dataFile(dir), file);

    await open();
    expect(ids()).toEqual(['a', 'c']);
    await eventually(() => outbox.counts.damaged === 1);
    expect([outbox.frames, warned]).toEqual([2, ['records of the outbox cannot be read; they are passed over']]);
    await outbox.settle([kept[0]?.record.key ?? 0, kept[2]?.record.key ?? 0]);
    expect([outbox.frames, outbox.bytes]).toEqual([0, 0]);
  });
});
