import { afterEach, describe, expect, it } from 'vitest';

import { startNatsCluster } from './nats-cluster.ts';
import { readInfo, startNatsServer } from './nats-server.ts';
import { stopAll } from './owned-by-test.ts';
import { trackResources } from './track-resources.ts';

const DOWNLOAD_TIMEOUT_MS = 180_000;

afterEach(() => stopAll());

describe('startNatsServer', { timeout: DOWNLOAD_TIMEOUT_MS }, () => {
  it('starts a server on loopback that takes the payload it is told to', async () => {
    const released = trackResources();
    const server = await startNatsServer({ maxPayload: 4_096 });

    expect(server.url).toBe(`nats://127.0.0.1:${server.port}`);
    const info = await readInfo(server.port);
    expect(info).toContain('"max_payload":4096');
    expect(info).toContain('"host":"127.0.0.1"');
    expect(info).not.toContain('"jetstream":true');

    await server.stop();
    await server.stop();
    await expect(readInfo(server.port)).rejects.toThrow(/ECONNREFUSED/);
    await released();
  });

  it('comes back on the same port after it was killed', async () => {
    const server = await startNatsServer({ jetstream: true });
    const firstPid = server.pid;
    await server.kill();
    await expect(readInfo(server.port)).rejects.toThrow(/ECONNREFUSED/);

    await server.restart();

    expect(server.pid).not.toBe(firstPid);
    expect(await readInfo(server.port)).toContain('"jetstream":true');
  });

  it('says nothing while it is paused', async () => {
    const server = await startNatsServer();
    server.pause();
    await expect(readInfo(server.port)).rejects.toThrow(/does not greet/);

    server.resume();
    expect(await readInfo(server.port)).toContain('INFO');
  });

  it('tells what the server printed when it does not start', async () => {
    await expect(startNatsServer({ extraConfig: 'max_payload: "much"' })).rejects.toThrow(/It printed:[^]*nats\.conf:4:1/);
  });
});

describe('startNatsCluster', { timeout: DOWNLOAD_TIMEOUT_MS }, () => {
  it('starts three servers that know each other', async () => {
    const cluster = await startNatsCluster(3, { jetstream: true });

    expect(new Set(cluster.urls).size).toBe(3);
    const info = await readInfo(cluster.servers[0]?.port ?? 0);
    for (const { port } of cluster.servers) expect(info).toContain(`"127.0.0.1:${port}"`);
    await cluster.stop();
  });
});
