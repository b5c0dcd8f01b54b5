import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { connect } from '@carillon/messenger';
import { eventually, freePort, spawnService, stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { AccessSite } from './access-site.ts';
import { handshake, openSocket } from './raw-peer.ts';

/** config-manager and PostgreSQL are dead for the whole test: hubs and a repeater restart, and 5,000 clients come back at once. */
const CLIENTS = 5_000;
const BACKOFF = { firstMs: 40, capMs: 200 };
const ROOM = 'ITB-1101';

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

async function startRepeater(hubUrl: string, key: string, folder: string): Promise<{ readonly port: number; readonly adminPort: number; restart(): Promise<void> }> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const launch = () => spawnService({
    command: 'apps/repeater/src/main.ts',
    env: {
      CARILLON_REPEATER_LISTEN: `127.0.0.1:${port}`, CARILLON_REPEATER_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, CARILLON_REPEATER_ID: 'CP1', CARILLON_REPEATER_HUB_URL: hubUrl,
      CARILLON_REPEATER_KEY: key, CARILLON_REPEATER_ACCESS: 'keys', CARILLON_DATA_DIR: folder, CARILLON_REPEATER_HUB_RETRY_FIRST_MS: '50', CARILLON_REPEATER_HUB_RETRY_CAP_MS: '200',
    },
    readyWhen: `http://127.0.0.1:${adminPort}/readyz`,
  });
  let service = await launch();
  return {
    port, adminPort,
    restart: async () => {
      service.kill('SIGKILL');
      await service.stop();
      service = await launch();
    },
  };
}

describe('with config-manager and its database dead', () => {
  it('hubs and repeaters restart and serve from their copy; 5,000 clients come back without asking anybody', async () => {
    const clients = await site.makeKey('messenger', { send: ['*'], receive: ['*'] });
    const gone = await site.makeKey('messenger', { send: ['*'], receive: ['*'] });
    const repeaterKey = await site.makeKey('repeater', { send: ['*'], receive: ['*'] });
    await site.call('DELETE', `/workspaces/default/keys/${gone.id}`);
    await site.settled();
    const [hub, other] = site.hubs;
    if (hub === undefined || other === undefined) throw new Error('two hubs');
    const repeater = await startRepeater(hub.url, repeaterKey.accessKey, join(site.folder, 'repeater'));
    const statusOf = async (port: number, key: string): Promise<number> => (await fetch(`http://127.0.0.1:${port}/k/${key}/status`)).status;
    await eventually(async () => expect(await statusOf(repeater.port, clients.accessKey)).toBe(200), { what: 'the repeater to have its copy' });

    await site.killManager();
    await site.killPostgres();
    for (const one of [hub, other]) {
      await one.kill();
      await one.start();
    }
    await repeater.restart();
    for (const { port } of [hub, other, repeater]) {
      expect(await statusOf(port, clients.accessKey)).toBe(200);
      expect(await statusOf(port, gone.accessKey)).toBe(401);
    }
    const panel = connect(`ws://127.0.0.1:${repeater.port}/connect/${ROOM}/panel`, { accessKey: clients.accessKey, backoff: BACKOFF });
    const listener = connect(other.url, { accessKey: clients.accessKey, backoff: BACKOFF });
    let heard = 0;
    listener.subscribe(ROOM, () => (heard += 1));
    await Promise.all([panel.ready(), listener.ready()]);
    await eventually(async () => {
      await panel.send(ROOM, '{}');
      expect(heard).toBeGreaterThan(0);
    }, { intervalMs: 50, what: 'an event from the repeater to the other hub' });
    await Promise.all([panel.close(), listener.close()]);

    // What was in the copy alone is enough: NATS goes too, for a hub that is set to go on.
    await other.stop();
    const path = `/k/${clients.accessKey}/connect/messenger`;
    const cpuBefore = hub.service.cpuSeconds();
    const begun = performance.now();
    const answers = await Promise.all(Array.from({ length: CLIENTS }, () => handshake(hub.port, path).then(({ socket, status }) => ({ socket, status }))));
    const tookMs = Math.round(performance.now() - begun);
    const cpuMsEach = ((hub.service.cpuSeconds() - cpuBefore) * 1_000) / CLIENTS;
    expect(answers.filter(({ status }) => status !== 101)).toEqual([]);
    process.stdout.write(`${JSON.stringify({ case: 'reconnect-storm', clients: CLIENTS, tookMs, cpuMsEach: Number(cpuMsEach.toFixed(3)), database: 'dead' })}\n`);
    for (const { socket } of answers) socket.destroy();
    expect(site.leaked()).toEqual([]);
  });

  it('a hub that is set to go on without its feed starts from the copy on its disk alone', async () => {
    const { id, accessKey } = await site.makeKey('messenger', { send: ['*'], receive: ['*'] });
    const [hub] = site.hubs;
    if (hub === undefined) throw new Error('a hub');
    await eventually(async () => expect(await readFile(join(site.folder, hub.name, 'access', 'hub.json'), 'utf8')).toContain(id), { what: 'the copy on the disk' });
    await hub.kill();
    await site.killManager();
    await site.killPostgres();
    await site.nats.kill();
    await hub.startWith({ CARILLON_HUB_ACCESS_STALE_AFTER_MS: '0' }, '/livez');
    // Alive comes before listening.
    const socket = await eventually(() => openSocket(hub.port));
    socket.destroy();
    expect((await fetch(`http://127.0.0.1:${hub.port}/k/${accessKey}/status`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${hub.port}/status`)).status).toBe(401);
  });
});
