import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { CONFORMANCE_LIMITS, type BusWorld } from './bus.conformance.ts';
import type { Bus } from './bus.ts';
import { KV_OVERHEAD_BYTES, type KeyValues, type KvEntry } from './key-values.ts';

const VALUE_MAX_BYTES = CONFORMANCE_LIMITS.payloadMaxBytes - KV_OVERHEAD_BYTES;
// A floor that holds on a loaded machine; 1,000 a second are what is wanted.
const PUTS_PER_SECOND_MIN = 200;

const text = (value: Uint8Array): string => Buffer.from(value).toString('utf8');
const bytes = (value: string): Uint8Array => Buffer.from(value, 'utf8');

/** Collects what a watch gives, as `key=value` and `synced`. */
export function collectWatch(keyValues: KeyValues, filter?: string) {
  const got: string[] = [];
  const latest = new Map<string, string>();
  const watch = keyValues.watch({
    ...(filter === undefined ? {} : { filter }),
    entry: ({ key, value }) => {
      got.push(`${key}=${text(value)}`);
      latest.set(key, text(value));
    },
    synced: () => got.push('synced'),
  });
  const syncedTimes = () => got.filter((line) => line === 'synced').length;
  return { got, latest, watch, syncedTimes };
}

/** Runs the suite that the key-values of every Bus pass. `world` is called inside the tests. */
export function describeKeyValues(name: string, world: () => BusWorld): void {
  describe(`${name} with key-values`, () => {
    let count = 0;
    let bucket: string;
    let opened: Bus[];
    let left: Bus;
    let right: Bus;

    const connect = async (): Promise<Bus> => {
      const bus = await world().connect();
      opened.push(bus);
      return bus;
    };

    beforeEach(async () => {
      opened = [];
      count += 1;
      bucket = `conformance-${count}`;
      [left, right] = await Promise.all([connect(), connect()]);
    });
    afterEach(async () => {
      await Promise.all(opened.map((bus) => bus.close()));
    });

    it('gives the latest value of a key to every handle, byte for byte', async () => {
      const value = Uint8Array.from({ length: 256 }, (_, index) => index);
      const [own, other] = [left.keyValues(bucket), right.keyValues(bucket)];
      const first = await own.put('default.key.a', bytes('old'));
      const second = await own.put('default.key.a', value);
      const empty = await other.put('Aa0_-/=.b', new Uint8Array(0));

      expect([second > first, empty > second]).toEqual([true, true]);
      for (const keyValues of [own, other]) {
        const entry = await keyValues.get('default.key.a');
        expect({ ...entry, value: Buffer.from(entry?.value ?? []) }).toEqual({ key: 'default.key.a', value: Buffer.from(value), revision: second });
        expect((await keyValues.get('Aa0_-/=.b'))?.value).toHaveLength(0);
        expect(await keyValues.get('default.key.absent')).toBeUndefined();
      }
    });

    it('keeps what was put when the value is changed afterwards', async () => {
      const value = Buffer.from('first');
      const keyValues = left.keyValues(bucket);
      const { latest } = collectWatch(keyValues);
      await keyValues.put('a', value);
      value.fill('x');

      expect(text((await keyValues.get('a'))?.value ?? value)).toBe('first');
      await eventually(() => latest.get('a') === 'first');
    });

    it('keeps buckets apart', async () => {
      await left.keyValues(bucket).put('a', bytes('1'));
      const { got } = collectWatch(left.keyValues(`${bucket}-other`));
      await eventually(() => got.length > 0);

      expect(got).toEqual(['synced']);
      expect(await right.keyValues(`${bucket}-other`).get('a')).toBeUndefined();
    });

    it('gives every entry, then synced, then changes in order, also the own', async () => {
      const keyValues = left.keyValues(bucket);
      for (const [key, value] of [['b', '1'], ['a', '2'], ['b', '3']] as const) await keyValues.put(key, bytes(value));
      const own = collectWatch(left.keyValues(bucket));
      const other = collectWatch(right.keyValues(bucket));
      await eventually(() => own.got.length === 3 && other.got.length === 3);
      await Promise.all(Array.from({ length: 100 }, (_, index) => keyValues.put(`c.${index}`, bytes(String(index)))));
      await eventually(() => own.got.length === 103 && other.got.length === 103);

      const expected = ['a=2', 'b=3', 'synced', ...Array.from({ length: 100 }, (_, index) => `c.${index}=${index}`)];
      expect(own.got).toEqual(expected);
      expect(other.got).toEqual(expected);
    });

    it('gives the revision that put resolved with', async () => {
      const keyValues = left.keyValues(bucket);
      const entries: KvEntry[] = [];
      const watch = right.keyValues(bucket).watch({ entry: (entry) => entries.push(entry), synced: () => undefined });
      const revisions = await Promise.all(['a', 'b', 'a'].map((key) => keyValues.put(key, bytes(key))));
      await eventually(() => entries.at(-1)?.revision === revisions[2]);
      await watch.stop();

      expect([...revisions].sort((one, other) => one - other)).toEqual(revisions);
    });

    it('delivers later, never inside put or watch', async () => {
      let inside = true;
      const seen: boolean[] = [];
      const keyValues = left.keyValues(bucket);
      keyValues.watch({ entry: () => seen.push(inside), synced: () => seen.push(inside) });
      const stored = keyValues.put('a', bytes('1'));
      inside = false;
      await stored;
      await eventually(() => seen.length === 2);

      expect(seen).toEqual([false, false]);
    });

    it.each([
      ['default.>', ['default.key.a', 'default.room.b']],
      ['*.key.*', ['default.key.a', 'other.key.c']],
      ['default.key.a', ['default.key.a']],
      ['default.*', []],
      ['>', ['default.key.a', 'default.room.b', 'other.key.c', 'x']],
    ])('gives only what the filter %s selects, before and after synced', async (filter, matching) => {
      const keyValues = left.keyValues(bucket);
      const putAll = (value: string) => Promise.all(['default.key.a', 'default.room.b', 'other.key.c', 'x'].map((key) => keyValues.put(key, bytes(value))));
      await putAll('1');
      const filtered = collectWatch(right.keyValues(bucket), filter);
      const all = collectWatch(right.keyValues(bucket));
      await eventually(() => filtered.syncedTimes() === 1 && all.syncedTimes() === 1);
      await putAll('2');
      await eventually(() => all.got.length === 9 && filtered.got.length === 2 * matching.length + 1);

      expect(filtered.got).toEqual([...matching.map((key) => `${key}=1`), 'synced', ...matching.map((key) => `${key}=2`)]);
    });

    it('loses nothing between the entries and the changes while a writer never stops', async () => {
      const keyValues = left.keyValues(bucket);
      const rewrittenCount = 50;
      let turn = 0;
      let storedTurn = 0;
      let isWriting = true;
      // Every turn writes a key that stays and one that is written again and again.
      const write = async () => {
        while (isWriting) {
          const round = Array.from({ length: 20 }, () => (turn += 1));
          await Promise.all(round.flatMap((value) => [`once.${value}`, `again.${value % rewrittenCount}`].map((key) => keyValues.put(key, bytes(String(value))))));
          storedTurn = turn;
        }
      };
      const writing = write();
      await eventually(() => storedTurn >= 1_000, { timeoutMs: 15_000 });

      const watches = [];
      for (let index = 0; index < 5; index += 1) {
        const storedBefore = storedTurn;
        const { got, latest, syncedTimes } = collectWatch(right.keyValues(bucket));
        await eventually(() => syncedTimes() === 1, { timeoutMs: 15_000 });
        const before = new Map(got.slice(0, got.indexOf('synced')).map((line) => line.split('=') as [string, string]));
        const missing = Array.from({ length: storedBefore }, (_, place) => `once.${place + 1}`).filter((key) => !before.has(key));
        const outdated = Array.from({ length: rewrittenCount }, (_, place) => `again.${place}`).filter((key) => Number(before.get(key) ?? 0) <= storedBefore - rewrittenCount);
        expect([missing, outdated]).toEqual([[], []]);
        watches.push({ got, latest });
      }
      isWriting = false;
      await writing;

      const everyTurn = Array.from({ length: turn }, (_, place) => `once.${place + 1}=${place + 1}`);
      for (const { got, latest } of watches) {
        await eventually(() => latest.get(`again.${turn % rewrittenCount}`) === String(turn));
        expect(got.filter((line) => line.startsWith('once.'))).toEqual(everyTurn);
        expect([...latest].filter(([key]) => key.startsWith('again.')).map(([, value]) => Number(value)).sort((one, other) => one - other)).toEqual(
          Array.from({ length: rewrittenCount }, (_, place) => turn - rewrittenCount + 1 + place),
        );
      }
    });

    it('gives nothing once a watch is stopped, however often', async () => {
      const keyValues = left.keyValues(bucket);
      const { got, watch } = collectWatch(keyValues);
      const witness = collectWatch(keyValues);
      const early = collectWatch(keyValues);
      const ended = early.watch.stop();
      await eventually(() => got.length === 1 && witness.got.length === 1);
      await Promise.all([watch.stop(), watch.stop(), ended]);
      await keyValues.put('a', bytes('1'));
      await eventually(() => witness.got.length === 2);

      expect([got, early.got]).toEqual([['synced'], []]);
    });

    it('takes stopping, putting and watching inside an entry', async () => {
      const keyValues = left.keyValues(bucket);
      const seen: string[] = [];
      const watch = keyValues.watch({
        entry: ({ key }) => {
          seen.push(key);
          void watch.stop();
          void keyValues.put('b', bytes('2'));
        },
        synced: () => seen.push('synced'),
      });
      const { got } = collectWatch(keyValues);
      await eventually(() => seen.length === 1);
      await keyValues.put('a', bytes('1'));
      await eventually(() => got.includes('b=2'));

      expect(seen).toEqual(['synced', 'a']);
      expect(got.filter((line) => line !== 'synced')).toEqual(['a=1', 'b=2']);
    });

    it('goes on when a watch throws', async () => {
      const keyValues = left.keyValues(bucket);
      const fail = () => {
        throw new Error('a faulty watcher');
      };
      const calls: string[] = [];
      keyValues.watch({ entry: ({ key }) => { calls.push(key); fail(); }, synced: () => { calls.push('synced'); fail(); } });
      const { got } = collectWatch(keyValues);
      await eventually(() => got.length === 1 && calls.length === 1);
      await keyValues.put('a', bytes('1'));
      await keyValues.put('b', bytes('2'));
      await eventually(() => got.length === 3 && calls.length === 3);

      expect(left.state).toBe('connected');
    });

    it('takes the largest value and refuses one byte more', async () => {
      const keyValues = left.keyValues(bucket);
      const { latest } = collectWatch(right.keyValues(bucket));
      const key = 'k'.repeat(1_024);
      await keyValues.put(key, new Uint8Array(VALUE_MAX_BYTES).fill(97));
      await expect(keyValues.put(key, new Uint8Array(VALUE_MAX_BYTES + 1))).rejects.toMatchObject({ code: 'BUS_KV_REFUSED', message: expect.stringContaining(String(VALUE_MAX_BYTES)) as string });

      expect((await keyValues.get(key))?.value).toHaveLength(VALUE_MAX_BYTES);
      await eventually(() => latest.get(key)?.length === VALUE_MAX_BYTES);
    });

    it('refuses puts when too much is under way, keeps the others, and recovers', async () => {
      const keyValues = left.keyValues(bucket);
      const value = new Uint8Array(32 * 1024);
      const outcomes = await Promise.allSettled(Array.from({ length: 64 }, (_, index) => keyValues.put(`k.${index}`, value)));
      const stored = outcomes.filter(({ status }) => status === 'fulfilled').length;

      expect(outcomes.slice(0, stored).every(({ status }) => status === 'fulfilled')).toBe(true);
      for (const outcome of outcomes.slice(stored)) expect(outcome).toMatchObject({ reason: { code: 'BUS_KV_REFUSED' } });
      expect(stored * value.length).toBeLessThanOrEqual(CONFORMANCE_LIMITS.outboundMaxBytes);
      expect(stored * value.length).toBeGreaterThan(CONFORMANCE_LIMITS.outboundMaxBytes * 0.9);
      await keyValues.put('late', value);
    });

    it(`stores at least ${PUTS_PER_SECOND_MIN} pipelined puts a second, in order`, async () => {
      const keyValues = left.keyValues(bucket);
      const { latest } = collectWatch(right.keyValues(bucket));
      const putCount = 2_000;
      const startedAtMs = performance.now();
      const revisions: number[] = [];
      for (let done = 0; done < putCount; done += 500) {
        revisions.push(...(await Promise.all(Array.from({ length: 500 }, (_, index) => keyValues.put(`k.${index % 7}`, bytes(String(done + index)))))));
      }
      const perSecond = putCount / ((performance.now() - startedAtMs) / 1_000);

      expect(revisions).toEqual(Array.from({ length: putCount }, (_, index) => (revisions[0] ?? 0) + index));
      expect(perSecond).toBeGreaterThan(PUTS_PER_SECOND_MIN);
      await eventually(() => [...latest.values()].includes(String(putCount - 1)));
    });

    it.each(['', '.', 'a.', '.a', 'a..b', 'a b', 'a*', '*', '>', 'a.>', 'ä', 'a\r\nPING', 'a:b', 'k'.repeat(1_025)])('refuses the key %j', async (key) => {
      const keyValues = left.keyValues(bucket);
      await expect(keyValues.put(key, bytes(''))).rejects.toMatchObject({ code: 'BUS_SUBJECT_INVALID' });
      await expect(keyValues.get(key)).rejects.toMatchObject({ code: 'BUS_SUBJECT_INVALID' });
    });

    it.each(['', 'a.', 'a..b', '>.a', 'a*', 'a.b>', 'a b', 'ä'])('refuses the filter %j', (filter) => {
      expect(() => left.keyValues(bucket).watch({ filter, entry: () => undefined, synced: () => undefined })).toThrow(expect.objectContaining({ code: 'BUS_SUBJECT_INVALID' }));
    });

    it.each(['', 'a.b', 'a b', 'a/b', '*'])('refuses the bucket %j', (name) => {
      expect(() => left.keyValues(name)).toThrow(expect.objectContaining({ code: 'BUS_SUBJECT_INVALID' }));
    });

    it('rejects what is under way when it closes, ends watches, and takes nothing any more', async () => {
      const keyValues = left.keyValues(bucket);
      const { got } = collectWatch(keyValues);
      await eventually(() => got.length === 1);
      const pending = [keyValues.put('a', bytes('1')), keyValues.get('a')].map((outcome) => outcome.catch((error: unknown) => error));
      const closed = left.close();

      for (const outcome of await Promise.all(pending)) expect(outcome).toMatchObject({ code: 'BUS_CLOSED' });
      await closed;
      await right.keyValues(bucket).put('b', bytes('2'));
      expect(got).toEqual(['synced']);
      await expect(keyValues.put('a', bytes('1'))).rejects.toMatchObject({ code: 'BUS_CLOSED' });
      await expect(keyValues.get('a')).rejects.toMatchObject({ code: 'BUS_CLOSED' });
      expect(() => keyValues.watch({ entry: () => undefined, synced: () => undefined })).toThrow(expect.objectContaining({ code: 'BUS_CLOSED' }));
      expect(() => left.keyValues(bucket)).toThrow(expect.objectContaining({ code: 'BUS_CLOSED' }));
    });
  });
}
