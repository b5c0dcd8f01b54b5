import { connect, createServer } from 'node:net';

import { DEFAULT_WORKSPACE_ID, FEED_BUCKET } from '@carillon/schemas';
import { eventually, startFaultProxy, trackResources } from '@carillon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { startTestConfigManager, usePostgres, type TestConfigManager } from './config-manager.fixture.ts';
import { route } from './http/route.ts';
import { configManagerMetricDefinitions } from './metrics.ts';

const managers: TestConfigManager[] = [];
const start = async (...options: Parameters<typeof startTestConfigManager>): Promise<TestConfigManager> => {
  const manager = await startTestConfigManager(...options);
  managers.push(manager);
  return manager;
};
afterEach(async () => {
  for (const manager of managers.splice(0)) await manager.stop();
});

describe('a config-manager', () => {
  it('starts on an empty database, tells hubs of its workspace, and leaves nothing behind', async () => {
    const released = trackResources();
    const manager = await start();
    expect(manager.manager).toMatchObject({ created: true });
    expect(manager.manager.adminPassword).toBeUndefined();
    expect((await manager.readiness()).status).toBe(200);
    const hub = manager.exchange.connect();
    await eventually(async () => (await hub.keyValues(FEED_BUCKET).get('default.workspace.default')) !== undefined);
    await hub.close();
    expect((await manager.admin.call('GET', `/workspaces/${DEFAULT_WORKSPACE_ID}`)).status).toBe(200);
    await manager.stop();
    await released();
  });

  it('can be two on one database', async () => {
    const [one, other] = [await start(), await start()];
    expect([one.manager.created, other.manager.created]).toEqual([true, false]);
    const person = await one.person('viewer');
    expect((await other.as({ authorization: `Bearer ${person.token}` }).call('GET', '/me')).status).toBe(200);
  });

  it('gives back the room of what has expired', async () => {
    const first = await start();
    const { store, admin } = first;
    const expiresAt = new Date(Date.now() - 1_000).toISOString();
    await store.sessions.create({ userId: admin.user.id, tokenHash: 'of no token', source: '192.0.2.1', expiresAt });
    await store.idempotency.finish({ scope: 'a', request: 'b', response: new Uint8Array([1]), expiresAt });
    const next = await start();
    // Each looks when it starts, and the first may have begun to before there was anything.
    const deleted = (what: string): number => [...first.logs, ...next.logs].reduce((sum, line) => sum + Number(new RegExp(`"${what}":([0-9]+).*deleted what had expired`).exec(line)?.[1] ?? 0), 0);
    await eventually(() => expect([deleted('sessions'), deleted('answers')]).toEqual([1, 1]));
  });

  it('shows its numbers', async () => {
    const manager = await start();
    await manager.anonymous.call('GET', '/nothing');
    expect(await manager.metric('carillon_config_manager_requests_total', '404')).toBe(1);
    expect(await manager.metric('carillon_config_manager_refused_total', 'ROUTE_NOT_FOUND')).toBe(1);
    expect(await manager.metric('carillon_config_manager_store_queries_total')).toBeGreaterThan(0);
    expect([await manager.metric('carillon_config_manager_sign_ins_total'), await manager.metric('carillon_config_manager_store_up')]).toEqual([1, 1]);
    await eventually(async () => (await manager.metric('carillon_config_manager_feed_leading')) === 1);
    for (const { name } of Object.values(configManagerMetricDefinitions)) expect(await manager.metric(name)).toBeGreaterThanOrEqual(0);
  });

  it('finishes what it was asked before it stops, and takes nothing new', async () => {
    let begun = (): void => undefined;
    let end = (): void => undefined;
    const hasBegun = new Promise<void>((resolve) => (begun = resolve));
    const mayEnd = new Promise<void>((resolve) => (end = resolve));
    const slow = route({
      method: 'GET', path: '/test/slow', name: 'testSlow', summary: '', tag: 'Test', access: 'public', answer: { status: 200, schema: z.object({ done: z.boolean() }), description: '' },
      handle: async () => {
        begun();
        await mayEnd;
        return { body: { done: true } };
      },
    });
    const manager = await start({ routes: [slow] });
    const asked = manager.anonymous.call('GET', '/test/slow');
    await hasBegun;
    const stopped = manager.stop();
    await eventually(async () => manager.anonymous.call('GET', '/me').then(() => false, () => true));
    end();
    const answer = await asked;
    expect([answer.status, answer.headers.get('connection'), answer.body]).toEqual([200, 'close', { done: true }]);
    await stopped;
  });

  it('is not ready, and says STORE_UNAVAILABLE, while the database is away; then goes on', async () => {
    const { url, release } = await usePostgres();
    const through = new URL(url);
    const proxy = await startFaultProxy({ targetPort: Number(through.port) });
    through.port = String(proxy.port);
    try {
      const manager = await start({ env: { CARILLON_DATABASE_URL: through.href } });
      proxy.cut();
      await eventually(async () => (await manager.readiness()).status === 503, { timeoutMs: 15_000 });
      expect((await manager.readiness()).text).toContain('the database does not answer');
      const answer = await manager.admin.call<{ detail?: string }>('GET', '/me');
      expect(answer).toMatchObject({ status: 503, code: 'STORE_UNAVAILABLE' });
      expect(answer.body.detail).toBeUndefined();
      expect(await manager.signIn('admin', 'whatever it is')).toMatchObject({ status: 503, code: 'STORE_UNAVAILABLE' });
      await proxy.heal();
      await eventually(async () => (await manager.readiness()).status === 200, { timeoutMs: 15_000 });
      expect((await manager.admin.call('GET', '/me')).status).toBe(200);
      await manager.stop();
    } finally {
      await proxy.stop();
      await release();
    }
  });

  it('drops connections beyond its bound, and counts them', async () => {
    const manager = await start({ env: { CARILLON_CONFIG_MANAGER_CONNECTIONS_MAX: '8' } });
    const { hostname, port } = new URL(manager.url);
    const sockets = Array.from({ length: 20 }, () => connect(Number(port), hostname).on('error', () => undefined));
    await eventually(async () => (await manager.metric('carillon_config_manager_refused_total', 'CONNECTIONS_EXCEEDED')) >= 12);
    for (const socket of sockets) socket.destroy();
    await eventually(async () => (await manager.anonymous.call('GET', '/me')).code === 'CREDENTIAL_REQUIRED');
  });

  it('does not start where somebody else listens, and stops what it had started', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    const keep = await usePostgres();
    const released = trackResources();
    await expect(startTestConfigManager({ env: { CARILLON_CONFIG_MANAGER_LISTEN: `127.0.0.1:${port}` } })).rejects.toMatchObject({ code: 'LISTEN_ADDRESS_IN_USE' });
    await released();
    await new Promise((resolve) => taken.close(resolve));
    await keep.release();
  });
});
