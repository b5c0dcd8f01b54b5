import { describe, expect, it } from 'vitest';

import { Refusal } from '../http/refusal.ts';
import { COMMON_PASSWORDS } from './common-passwords.ts';
import { Passwords, requireFit } from './passwords.ts';

const CHEAP = { logN: 4, r: 8, p: 1 };

describe('password hashes', () => {
  it('say how they were made, differ each time, and match one password', async () => {
    const passwords = new Passwords(CHEAP);
    const [one, other] = await Promise.all([passwords.hash('correct horse'), passwords.hash('correct horse')]);
    expect(one).toMatch(/^scrypt\$4\$8\$1\$/);
    expect(one).not.toBe(other);
    expect(await passwords.check('correct horse', one)).toEqual({ matches: true, isOutdated: false });
    expect(await passwords.check('correct horsf', one)).toMatchObject({ matches: false });
  });

  it('are outdated when the cost has changed', async () => {
    const hash = await new Passwords(CHEAP).hash('correct horse');
    expect(await new Passwords({ ...CHEAP, logN: 5 }).check('correct horse', hash)).toEqual({ matches: true, isOutdated: true });
  });

  it('take a password however its accents are composed', async () => {
    const passwords = new Passwords(CHEAP);
    expect(await passwords.check('caf\u0065\u0301', await passwords.hash('caf\u00e9'))).toMatchObject({ matches: true });
  });

  it('match nothing for nobody, and take as long to say so', async () => {
    // Some 30 ms: what is not hashing is lost in it.
    const passwords = new Passwords({ logN: 14, r: 8, p: 1 });
    const hash = await passwords.hash('correct horse');
    const fastest = async (of: string | null | undefined): Promise<number> => {
      let bestMs = Infinity;
      for (let at = 0; at < 5; at += 1) {
        const startedMs = performance.now();
        expect((await passwords.check('anything', of)).matches).toBe(false);
        bestMs = Math.min(bestMs, performance.now() - startedMs);
      }
      return bestMs;
    };
    const somebodyMs = await fastest(hash);
    for (const nobody of [null, undefined]) expect(await fastest(nobody)).toBeGreaterThan(somebodyMs / 2);
  });

  it('are made two at a time, with a bound on those that wait', async () => {
    const passwords = new Passwords({ logN: 12, r: 8, p: 1 });
    const results = await Promise.allSettled(Array.from({ length: 100 }, () => passwords.hash('correct horse')));
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Refusal] : []));
    // One more is under way for those who have no password.
    expect(refused).toHaveLength(100 - 2 - 64 + 1);
    expect(refused.every(({ code, retryAfterMs }) => code === 'RATE_LIMITED' && retryAfterMs === 2_000)).toBe(true);
    await expect(passwords.hash('correct horse')).resolves.toMatch(/^scrypt/);
  });
});

describe('a fit password', () => {
  it.each(['correct horse battery', 'x4-QmVx9ZrTb', 'twelve chars', `${'ab'.repeat(64)}${'cd'.repeat(64)}`])('%s is', (password) => {
    expect(() => requireFit(password, 'ada')).not.toThrow();
  });

  it.each(['elevenchars', 'ab'.repeat(129), 'Password-1234', 'administrator', '1q2w3e4r5t6y', 'abababababab', 'ADA.lovelace', 'ada.lovelace@rooms'])('%s is not', (password) => {
    const username = password.includes('@') ? password : 'ada.lovelace@rooms.example';
    expect(() => requireFit(password, username)).toThrow(/too short, too long or too common/);
  });

  it('is measured in characters, not in code units', () => {
    expect(() => requireFit('🔔🎵🎶🔕🔔🎵', 'ada')).toThrow(Refusal);
    expect(() => requireFit('🔔🎵🎶🔕🔔🎵🔔🎵🎶🔕🔔🎵', 'ada')).not.toThrow();
  });

  it('is checked against a list whose entries could be reached', () => {
    for (const password of COMMON_PASSWORDS) expect(password).toMatch(/^[\p{Ll}\p{N}]{12,}$/u);
  });
});
