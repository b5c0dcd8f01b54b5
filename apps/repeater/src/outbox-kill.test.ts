import { eventually, freePort, spawnService, type SpawnedService } from '@carillon/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { StubLog } from './acking-hub.fixture.ts';
import { createSite } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
let running: SpawnedService | undefined;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(async () => {
  await running?.stop();
  await site.close();
});

const SENDERS = 8;
const ROUNDS = 3;

test('a repeater that is killed, and killed again while it sends, loses nothing that it said it has', { timeout: 240_000 }, async () => {
  const log = new StubLog();
  const folder = await site.folder();
  const [port, adminPort] = [await freePort(), await freePort()];
  const hub = await site.ackingHub({ log, answer: () => 'hold' });
  const start = () => spawnService({
    command: 'apps/repeater/src/main.ts',
    env: {
      CARILLON_REPEATER_LISTEN: `127.0.0.1:${port}`, CARILLON_REPEATER_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, CARILLON_REPEATER_ACCESS: 'open', CARILLON_REPEATER_HUB_URL: hub.url, CARILLON_DATA_DIR: folder,
      CARILLON_REPEATER_HUB_RETRY_FIRST_MS: '50', CARILLON_REPEATER_HUB_RETRY_CAP_MS: '100',
    },
    readyWhen: `http://127.0.0.1:${adminPort}/readyz`,
  });
  const kept: { readonly room: string; readonly body: string }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    running = await start();
    const enough = kept.length + 200 + 100 * round;
    // Each sender waits for its answer, so that its events are in order; the last one of each is cut off by the kill.
    const senders = Array.from({ length: SENDERS }, async (_, sender) => {
      for (let n = 0; ; n += 1) {
        const room = `R${sender}`;
        const body = JSON.stringify({ 'affected-room': { roomID: room }, 'key': 'n', 'value': `${round}-${n}` });
        const answer = await fetch(`http://127.0.0.1:${port}/send`, { method: 'POST', body }).catch(() => undefined);
        if (answer?.status !== 200) return;
        kept.push({ room, body });
      }
    });
    await eventually(() => kept.length >= enough, { intervalMs: 1 });
    // In the middle of its being told what the hub has.
    if (round === 1) hub.answer(() => 'ack');
    running.kill('SIGKILL');
    await Promise.all([...senders, running.exited]);
    hub.answer(() => 'hold');
  }
  hub.answer(() => 'ack');
  running = await start();
  await eventually(() => kept.every(({ body }) => log.bodies().includes(body)), { timeoutMs: 60_000, intervalMs: 200 });
  // No event has two ids, and those of a room came in order.
  expect(new Set(log.bodies()).size).toBe(log.bodies().length);
  const told = new Set(kept.map(({ body }) => body));
  for (let sender = 0; sender < SENDERS; sender += 1) {
    const room = `R${sender}`;
    expect(log.bodies(room).filter((body) => told.has(body))).toEqual(kept.filter((one) => one.room === room).map(({ body }) => body));
  }
});
