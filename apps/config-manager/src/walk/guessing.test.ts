import { eventually } from '@carillon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { LoginThrottle } from '../auth/login-throttle.ts';
import { ADMIN_PASSWORD } from '../config-manager.fixture.ts';
import { fresh, openScene, type Scene } from './scene.fixture.ts';

// One proxy is trusted, so that a header says where somebody is. Time stands still: no bucket fills by itself.

const HOME = '198.51.100.7';
const GUESSES = 1_000;
const SOURCES = 200;
/** More than there are places for passwords to be looked at and to wait for that: 2 and 64. */
const NAMES = 90;
/** As many sources, and names, as the throttle says that it remembers. */
const REMEMBERED = 1_000;

let scene: Scene;
beforeAll(async () => {
  scene = await openScene({ env: { CARILLON_CONFIG_MANAGER_TRUST_PROXY_HOPS: '1' }, passwordCost: { logN: 14, r: 8, p: 1 } });
  scene.manager.clock.stop();
  expect((await signIn(HOME, 'admin', ADMIN_PASSWORD)).status).toBe(201);
}, 60_000);
afterAll(() => scene.stop());

const signIn = (from: string, username: string, password: string) => scene.nobody.call('POST', '/sessions', { body: { username, password }, headers: { 'x-forwarded-for': from } });

/** Guesses, many at a time, until somebody has signed in at home three times meanwhile. Gives the answers by code. */
async function attack(guess: (at: number) => readonly [string, string], { count = GUESSES, atATime = 20 } = {}): Promise<Readonly<Record<string, number>>> {
  const waits: (string | null)[] = [];
  const codes: Record<string, number> = {};
  let begun = 0;
  let answered = 0;
  let isOver = false;
  const guessers = Array.from({ length: atATime }, async () => {
    while (begun < count || !isOver) {
      const { code = 'none', headers } = await signIn(...guess((begun += 1)), `a guess, the ${begun}th`);
      codes[code] = (codes[code] ?? 0) + 1;
      answered += 1;
      if (code !== 'LOGIN_FAILED') waits.push(headers.get('retry-after'));
    }
  });
  await eventually(() => answered > 0, { timeoutMs: 30_000, what: 'the attack to be under way' });
  try {
    for (let time = 0; time < 3; time += 1) {
      const { status, text } = await signIn(HOME, 'admin', ADMIN_PASSWORD);
      expect(status, `after ${answered} guesses: ${text}`).toBe(201);
    }
  } finally {
    isOver = true;
    await Promise.all(guessers);
  }
  expect(answered).toBeGreaterThanOrEqual(count);
  expect(waits.filter((wait) => !(Number(wait) > 0))).toEqual([]);
  return codes;
}

describe('hundreds of wrong passwords do not keep the administrator out who comes from where they were before', () => {
  it('from one source, a thousand times', { timeout: 120_000 }, async () => {
    expect(await attack(() => ['203.0.113.1', 'admin'])).toEqual({ LOGIN_FAILED: 10, LOGIN_THROTTLED: expect.any(Number) as number });
  });

  it('from two hundred sources, twice each', { timeout: 120_000 }, async () => {
    scene.manager.clock.advance(3_600_000);
    expect(await attack((at) => [`10.0.${at % SOURCES}.1`, 'admin'], { count: 2 * SOURCES })).toEqual({ LOGIN_FAILED: 10, LOGIN_THROTTLED: expect.any(Number) as number });
  });

  it('at names that nobody has, which are more passwords than can be looked at', { timeout: 120_000 }, async () => {
    scene.manager.clock.advance(3_600_000);
    const codes = await attack((at) => [`10.1.${at % SOURCES}.1`, fresh()], { count: NAMES, atATime: NAMES });
    expect(Object.keys(codes)).toEqual(expect.arrayContaining(['LOGIN_FAILED', 'RATE_LIMITED']));
    expect(Object.keys(codes).filter((code) => !['LOGIN_FAILED', 'RATE_LIMITED', 'LOGIN_THROTTLED'].includes(code))).toEqual([]);
  });

  it('and what is remembered of them has a bound', { timeout: 120_000 }, async () => {
    const throttle = new LoginThrottle({ store: scene.manager.store, now: () => 0, bucketsMax: REMEMBERED });
    const attempt = (at: number) => throttle.attempt({ username: `${at}${'x'.repeat(240)}`, user: undefined, source: `2001:db8:${(at >> 8).toString(16)}:${(at & 255).toString(16)}::1`, isLocal: false });
    for (let at = 0; at < 10; at += 1) await attempt(0);
    await expect(attempt(0)).rejects.toMatchObject({ code: 'LOGIN_THROTTLED' });
    for (let at = 1; at <= REMEMBERED; at += 100) await Promise.all(Array.from({ length: 100 }, (_, more) => attempt(at + more)));
    // The first was forgotten for the others, so that no more than that many are held.
    await expect(attempt(0)).resolves.toMatchObject({ isKnown: false });
  });
});

it('no secret is let out, and nothing is said of what is inside', () => scene.expectNoLeaks());
