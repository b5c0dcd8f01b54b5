import { connect, type Messenger } from '@carillon/messenger';
import { eventually, stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { AccessSite } from './access-site.ts';
import { countedBody } from './counted-event.ts';
import { Reception } from './reception.ts';

/**
 * A change of access is in force at both hubs within two seconds, or a hub that cannot hear of it trusts no key.
 * Printed: how long the changes took.
 */
const IN_FORCE_WITHIN_MS = 2_000;
const ROUNDS = 10;
const BACKOFF = { firstMs: 40, capMs: 200 };

let released: ReturnType<typeof trackResources>;
let site: AccessSite;

beforeEach(async () => {
  released = trackResources();
  site = await AccessSite.start({ hubs: 2 });
});

afterEach(async () => {
  await site.stop();
  await stopAll();
  await released();
});

const ended = (messenger: Messenger): Promise<string | undefined> =>
  new Promise((resolve) => {
    messenger.on('state', ({ status, lastError }) => {
      if (status === 'closed') resolve((lastError as { readonly code?: string } | undefined)?.code);
    });
  });

describe('a change of access', () => {
  it('ends the connections of a revoked key at every hub, and lets it in nowhere', async () => {
    const tookMs: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const { id, accessKey } = await site.makeKey('messenger', { send: ['*'], receive: ['*'] });
      await site.settled();
      const messengers = site.hubs.map((hub) => connect(hub.url, { accessKey, backoff: BACKOFF }));
      await Promise.all(messengers.map((messenger) => messenger.ready()));
      const all = Promise.all(messengers.map(ended));
      const begun = performance.now();
      await site.call('DELETE', `/workspaces/default/keys/${id}`);
      expect(await all).toEqual(['ACCESS_KEY_REVOKED', 'ACCESS_KEY_REVOKED']);
      tookMs.push(performance.now() - begun);
      for (const hub of site.hubs) expect((await fetch(`http://127.0.0.1:${hub.port}/k/${accessKey}/status`)).status).toBe(401);
      await Promise.all(messengers.map((messenger) => messenger.close()));
    }
    const slowestMs = Math.round(Math.max(...tookMs));
    process.stdout.write(`${JSON.stringify({ case: 'revocation', hubs: 2, rounds: ROUNDS, slowestMs, boundMs: IN_FORCE_WITHIN_MS })}\n`);
    expect(slowestMs).toBeLessThanOrEqual(IN_FORCE_WITHIN_MS);
    expect(site.leaked()).toEqual([]);
  });

  it('takes rooms from a key, and gives them, without a reconnect', async () => {
    const reader = await site.makeKey('messenger', { receive: ['ITB-*'] });
    const writer = await site.makeKey('messenger', { send: ['*'] });
    await site.settled();
    const [left, right] = site.hubs;
    if (left === undefined || right === undefined) throw new Error('two hubs');
    const reception = new Reception();
    const subscriber = connect(right.url, { accessKey: reader.accessKey, backoff: BACKOFF });
    subscriber.subscribe(['ITB-*'], reception.take);
    const publisher = connect(left.url, { accessKey: writer.accessKey, backoff: BACKOFF });
    await Promise.all([subscriber.ready(), publisher.ready()]);
    let counter = 0;
    const publish = async (room: string): Promise<number> => {
      counter += 1;
      await publisher.send(room, countedBody(room, { publisher: 'w', counter }));
      return counter;
    };
    const passes = async (room: string): Promise<boolean> => {
      const marker = await publish(room);
      return eventually(() => reception.has('w', marker), { timeoutMs: 200, intervalMs: 5 }).then(() => true, () => false);
    };
    await eventually(() => passes('ITB-1'), { timeoutMs: 10_000 });
    expect(await passes('ITB-9')).toBe(true);

    const tookMs: number[] = [];
    for (const denied of [true, false, true, false]) {
      const begun = performance.now();
      await site.call('PATCH', `/workspaces/default/keys/${reader.id}`, { permissions: { receive: ['ITB-*'], deny: { receive: denied ? ['ITB-9'] : [] } } });
      await eventually(async () => (await passes('ITB-9')) === !denied, { timeoutMs: 5_000, intervalMs: 5 });
      tookMs.push(performance.now() - begun);
      expect(await passes('ITB-1')).toBe(true);
    }
    const slowestMs = Math.round(Math.max(...tookMs));
    process.stdout.write(`${JSON.stringify({ case: 'permission-change', slowestMs, boundMs: IN_FORCE_WITHIN_MS })}\n`);
    expect(slowestMs).toBeLessThanOrEqual(IN_FORCE_WITHIN_MS);
    await Promise.all([subscriber.close(), publisher.close()]);
  });

  it('that a hub cannot hear of closes the hub to every key, until it hears again', async () => {
    const { accessKey } = await site.makeKey('messenger', { send: ['*'], receive: ['*'] });
    await site.settled();
    const [hub] = site.hubs;
    if (hub === undefined) throw new Error('a hub');
    const codes: unknown[] = [];
    const messenger = connect(hub.url, { accessKey, backoff: BACKOFF });
    messenger.on('error', (error) => codes.push((error as Error & { code?: string }).code));
    await messenger.ready();
    const away = new Promise<number>((resolve) => messenger.on('state', ({ status }) => status !== 'open' && resolve(performance.now())));
    const begun = performance.now();
    site.nats.pause();
    const tookMs = Math.round((await away) - begun);
    process.stdout.write(`${JSON.stringify({ case: 'fails-closed', tookMs, boundMs: IN_FORCE_WITHIN_MS })}\n`);
    expect(tookMs).toBeLessThanOrEqual(IN_FORCE_WITHIN_MS);
    const refused = await fetch(`http://127.0.0.1:${hub.port}/k/${accessKey}/status`);
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([503, 'ACCESS_STALE']);
    expect(codes).toContain('ACCESS_STALE');
    site.nats.resume();
    await messenger.ready({ signal: AbortSignal.timeout(20_000) });
    await messenger.close();
  });
});
