import { describe, expect, it } from 'vitest';

import { usePostgres } from '../postgres.fixture.ts';

const postgres = usePostgres();
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1_000).toISOString();
const response = new TextEncoder().encode('{"status":201}\0\xff');
const kept = (seconds = 60) => ({ scope: 's', request: 'r', response, expiresAt: inSeconds(seconds) });

describe('idempotent requests', () => {
  it('are new until their transaction has committed, and are then answered from memory, byte for byte', async () => {
    const store = await postgres.open();
    const begin = async (request = 'r') => store.change(({ idempotency }) => idempotency.begin({ scope: 's', request }));
    expect(await begin()).toEqual({ state: 'new' });
    await expect(store.change(async ({ idempotency }) => {
      await idempotency.finish(kept());
      throw new Error('no');
    })).rejects.toThrow('no');
    expect(await begin()).toEqual({ state: 'new' });
    await store.change(({ idempotency }) => idempotency.finish(kept()));
    const done = await begin();
    expect(done).toMatchObject({ state: 'done', sameRequest: true });
    expect(done.state === 'done' && Buffer.from(done.response).equals(response)).toBe(true);
    expect(await begin('another')).toMatchObject({ state: 'done', sameRequest: false });
  });

  it('are in progress for all but one of many that come at once', async () => {
    const store = await postgres.open();
    let end = (): void => undefined;
    const mayEnd = new Promise<void>((resolve) => (end = resolve));
    const states: string[] = [];
    const all = Array.from({ length: 8 }, () => store.change(async ({ idempotency }) => {
      const { state } = await idempotency.begin({ scope: 's', request: 'r' });
      states.push(state);
      if (states.length === 8) end();
      await mayEnd;
    }));
    await Promise.all(all);
    expect(states.sort()).toEqual([...Array.from({ length: 7 }, () => 'in-progress'), 'new']);
  });

  it('are forgotten when their time is over', async () => {
    const store = await postgres.open();
    const begin = async () => (await store.change(({ idempotency }) => idempotency.begin({ scope: 's', request: 'r' }))).state;
    await store.change(({ idempotency }) => idempotency.finish(kept(-1)));
    expect(await begin()).toBe('new');
    await store.change(({ idempotency }) => idempotency.finish(kept()));
    expect(await begin()).toBe('done');
    expect(await store.idempotency.deleteExpired(inSeconds(0))).toBe(0);
    expect(await store.idempotency.deleteExpired(inSeconds(120))).toBe(1);
    expect(await begin()).toBe('new');
  });
});
