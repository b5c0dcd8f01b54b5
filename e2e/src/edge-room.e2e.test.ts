import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connect, type Messenger } from '@carillon/messenger';
import { eventually, freePort, spawnService, startFaultProxy, stopAll, trackResources, type SpawnedService } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { countedBody } from './counted-event.ts';
import { HubProcess } from './hub-process.ts';
import { readMetrics } from './metric-values.ts';
import { Reception } from './reception.ts';

/** A room at the edge: devices at a repeater, the hub behind a line that can break. */
const ROOM = 'EDGE-101';
const QUEUED_EVENTS = 500;
const BACKOFF = { firstMs: 40, capMs: 200 };

let released: ReturnType<typeof trackResources>;
let folder: string;

beforeEach(async () => {
  released = trackResources();
  folder = await mkdtemp(join(tmpdir(), 'carillon-edge-'));
});

afterEach(async () => {
  await stopAll();
  await rm(folder, { recursive: true });
  await released();
});

interface Repeater {
  readonly service: SpawnedService;
  readonly port: number;
  readonly adminPort: number;
}

/** A repeater that passes the room's frames from the hub on to the display. */
async function startRepeater(hubUrl: string): Promise<Repeater> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const sendList = join(folder, 'send-list.json');
  await writeFile(sendList, JSON.stringify({ rooms: { [ROOM]: [`${ROOM}-D1`] } }));
  const service = await spawnService({
    command: 'apps/repeater/src/main.ts',
    env: {
      CARILLON_REPEATER_LISTEN: `127.0.0.1:${port}`,
      CARILLON_REPEATER_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
      CARILLON_REPEATER_ID: `${ROOM}-CP1`,
      CARILLON_REPEATER_ACCESS: 'open',
      CARILLON_REPEATER_HUB_URL: hubUrl,
      CARILLON_REPEATER_SEND_LIST_FILE: sendList,
      CARILLON_REPEATER_HUB_RETRY_FIRST_MS: '50',
      CARILLON_REPEATER_HUB_RETRY_CAP_MS: '200',
    },
    readyWhen: `http://127.0.0.1:${adminPort}/readyz`,
  });
  return { service, port, adminPort };
}

interface Listener {
  readonly messenger: Messenger;
  readonly reception: Reception;
}

function listenAt(url: string, rooms: readonly string[]): Listener {
  const messenger = connect(url, { backoff: BACKOFF });
  const reception = new Reception();
  messenger.subscribe(rooms, reception.take);
  return { messenger, reception };
}

/** Publishes numbered events of one name and says which was the last. */
function numbered(messenger: Messenger, name: string): { next(): Promise<number> } {
  let counter = 0;
  return {
    next: async () => {
      counter += 1;
      await messenger.send(ROOM, countedBody(ROOM, { publisher: name, counter }));
      return counter;
    },
  };
}

/** Publishes until a listener hears it: subscriptions are not acknowledged in this protocol. */
async function untilHeard(source: { next(): Promise<number> }, name: string, ...listeners: readonly Listener[]): Promise<void> {
  await eventually(async () => {
    const marker = await source.next();
    await eventually(() => listeners.every(({ reception }) => reception.has(name, marker)), { timeoutMs: 300, intervalMs: 5 });
  }, { what: `${name} to be heard` });
}

describe('an edge room', () => {
  it('keeps devices talking without the hub, and brings up in order what waited', async () => {
    const hub = await HubProcess.start('cloud');
    const line = await startFaultProxy({ targetPort: hub.port });
    const repeater = await startRepeater(`ws://127.0.0.1:${line.port}`);
    const door = (device: string): string => `ws://127.0.0.1:${repeater.port}/connect/${ROOM}/${ROOM}-${device}`;
    const panel = connect(door('TP1'), { backoff: BACKOFF });
    const display = listenAt(door('D1'), [ROOM]);
    const cloud = listenAt(hub.url, [ROOM]);
    const operator = connect(hub.url, { backoff: BACKOFF });
    const fromPanel = numbered(panel, 'panel');
    const fromOperator = numbered(operator, 'operator');

    await untilHeard(fromPanel, 'panel', display, cloud);
    await untilHeard(fromOperator, 'operator', display, cloud);

    await hub.kill();
    line.cut();
    await eventually(async () => (await readMetrics(repeater.adminPort)).get('carillon_repeater_hub_connected') === 0, { what: 'the repeater to notice' });
    expect((await fetch(`http://127.0.0.1:${repeater.adminPort}/readyz`)).status).toBe(200);
    cloud.reception.forgetMissed();
    const firstQueued = await fromPanel.next();
    let last = firstQueued;
    while (last - firstQueued + 1 < QUEUED_EVENTS) last = await fromPanel.next();
    await eventually(() => display.reception.last('panel') === last, { what: 'the display to hear the panel without the hub' });
    expect(display.reception.missed('panel')).toBe(0);
    await eventually(async () => (await readMetrics(repeater.adminPort)).get('carillon_repeater_upstream_queue_frames') === QUEUED_EVENTS, { what: 'all of it to wait for the hub' });

    // The line stays cut until the listener at the hub is back: what goes up before would be heard by nobody.
    await hub.start();
    await untilHeard(fromOperator, 'operator', cloud);
    await line.heal();
    await eventually(() => cloud.reception.last('panel') === last, { what: 'the hub to get what waited' });
    expect(cloud.reception.missed('panel')).toBe(0);
    await untilHeard(fromPanel, 'panel', display, cloud);
    await untilHeard(fromOperator, 'operator', display, cloud);
    for (const { reception: { duplicates, reordered, torn } } of [display, cloud]) expect({ duplicates, reordered, torn }).toEqual({ duplicates: 0, reordered: 0, torn: 0 });

    await Promise.all([panel, display.messenger, cloud.messenger, operator].map((messenger) => messenger.close()));
    expect(await repeater.service.stop()).toEqual({ code: 0, signal: null });
    expect(await hub.stop()).toEqual({ code: 0, signal: null });
  });

  it('drains on SIGTERM: what devices have sent reaches the hub, and both programs end with 0', async () => {
    const hub = await HubProcess.start('cloud');
    const repeater = await startRepeater(hub.url);
    const panel = connect(`ws://127.0.0.1:${repeater.port}/connect/${ROOM}/${ROOM}-TP1`, { backoff: BACKOFF });
    const cloud = listenAt(hub.url, [ROOM]);
    const fromPanel = numbered(panel, 'panel');
    await untilHeard(fromPanel, 'panel', cloud);

    let last = 0;
    for (let sent = 0; sent < QUEUED_EVENTS; sent += 1) last = await fromPanel.next();
    repeater.service.kill('SIGTERM');

    expect(await repeater.service.exited).toEqual({ code: 0, signal: null });
    await eventually(() => cloud.reception.last('panel') === last, { what: 'the hub to get everything' });
    expect(cloud.reception.missed('panel')).toBe(0);
    expect(await hub.stop()).toEqual({ code: 0, signal: null });
    await Promise.all([panel.close(), cloud.messenger.close()]);
  });
});
