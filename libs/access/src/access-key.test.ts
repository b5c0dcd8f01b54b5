import { createHash } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { createAccessKey, hashAccessKey, parseAccessKey } from './index.ts';
import { CopyFixture } from './records.fixture.ts';

describe('an access key', () => {
  it('has a public id, a secret, and the SHA-256 of the whole as its hash', () => {
    const { id, key, hash } = createAccessKey();
    expect(key).toMatch(/^ck_[0-9A-Za-z]{16}_[0-9A-Za-z]{43}$/);
    expect(parseAccessKey(key)).toEqual({ id, key });
    expect(hash).toBe(createHash('sha256').update(key).digest('base64url'));
    expect(hash).toBe(hashAccessKey(key));
    expect(hash).toHaveLength(43);
  });

  it('uses each of 62 characters as often as any other', () => {
    const counts = new Map<string, number>();
    const keys = 3_000;
    for (let made = 0; made < keys; made += 1) for (const character of createAccessKey().key.slice(20)) counts.set(character, (counts.get(character) ?? 0) + 1);
    const expected = (keys * 43) / 62;
    expect(counts.size).toBe(62);
    // 61 degrees of freedom: above 140 once in 10^7 runs. Bytes taken modulo 62 without more (8 characters a quarter likelier) give over 600.
    const chiSquared = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chiSquared).toBeLessThan(140);
  });

  it('is never made twice', () => {
    const made = Array.from({ length: 2_000 }, () => createAccessKey());
    expect(new Set(made.map(({ id }) => id)).size).toBe(made.length);
  });

  it('is told from every text that differs in shape', () => {
    const { key } = createAccessKey();
    const wrong = ['', 'ck_', key.slice(1), `${key}x`, key.slice(0, -1), ` ${key.slice(1)}`, key.replace('ck_', 'CK_'), key.replace(/_(?=[^_]*$)/, '-'), `${key.slice(0, -1)}_`, `${key.slice(0, -1)}é`, `${key.slice(0, 10)}\0${key.slice(11)}`];
    for (const text of wrong) expect([text, parseAccessKey(text)]).toEqual([text, undefined]);
  });

  it('is read without throwing, and only if a simple expression says so', () => {
    const { key } = createAccessKey();
    const near = fc.tuple(fc.nat(62), fc.string({ minLength: 1, maxLength: 1 })).map(([at, one]) => key.slice(0, at) + one + key.slice(at + 1));
    fc.assert(
      fc.property(fc.oneof(fc.string(), near), (text) => {
        expect(parseAccessKey(text) !== undefined).toBe(/^ck_[0-9A-Za-z]{16}_[0-9A-Za-z]{43}$/.test(text) && text.length === 63);
      }),
      { numRuns: 5_000 },
    );
  });

  it('is refused at once however long it is', () => {
    const text = 'ck_'.repeat(10_000_000);
    const startedMs = performance.now();
    expect(parseAccessKey(text)).toBeUndefined();
    expect(performance.now() - startedMs).toBeLessThan(20);
  });
});

describe('authenticating a key', () => {
  const cpuMicros = (run: () => void): number => {
    const before = process.cpuUsage();
    for (let time = 0; time < 500; time += 1) run();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 500;
  };
  const median = (run: () => void): number => {
    const costs = Array.from({ length: 21 }, () => cpuMicros(run)).sort((left, right) => left - right);
    return costs[10] ?? Infinity;
  };

  it('costs under 50 µs of CPU, of a key that is known and of one that is not', () => {
    const fixture = new CopyFixture();
    for (let other = 0; other < 1_000; other += 1) fixture.key();
    const { key } = fixture.key();
    const unknown = createAccessKey().key;
    expect(median(() => fixture.copy.authenticate(key))).toBeLessThan(50);
    expect(median(() => fixture.copy.authenticate(unknown))).toBeLessThan(50);
  });
});
