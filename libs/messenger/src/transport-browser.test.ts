import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { systemClock } from './clock.ts';
import { connectWith } from './connect.ts';
import type { Messenger } from './messenger.ts';
import { eventually, startStubHub, type StubHub } from './stub-hub.test.fixture.ts';
import { systemName, transport } from './transport-browser.ts';

/** `ws` has the interface of the browser's WebSocket, as far as the transport uses it. */
describe('the browser transport', () => {
  let hub: StubHub;
  let messenger: Messenger;

  beforeEach(async () => {
    vi.stubGlobal('WebSocket', WebSocket);
    hub = await startStubHub();
    messenger = connectWith({ transport, clock: systemClock, stableAfterMs: 10_000 }, hub.url, { backoff: { firstMs: 10, capMs: 20 } });
  });

  afterEach(async () => {
    await messenger.close();
    await hub.stop();
    vi.unstubAllGlobals();
  });

  it('sends and receives', async () => {
    const events = messenger.subscribe('A');
    await messenger.send('B', 'up');
    await eventually(() => hub.heard.length === 2);
    expect(hub.heard).toEqual(['{"rooms":["A"],"create":true}', 'B up']);
    for (const { socket } of hub.peers) {
      socket.send('text is no event');
      socket.send(new TextEncoder().encode('A\n{"n":1}'));
    }
    for await (const event of events) {
      expect(event.json()).toEqual({ n: 1 });
      break;
    }
    await messenger.drain();
    expect(hub.peers.size).toBe(0);
  });

  it('comes back, also when it is given up', async () => {
    await messenger.ready();
    for (const { socket } of hub.peers) socket.close(1012, 'DRAINING');
    await eventually(() => hub.joined === 2);
    await messenger.ready();
    expect(messenger.state.lastError?.code).toBe('DRAINING');
  });
});

describe('the system name of a browser', () => {
  it('is the host of the page, if there is one', () => {
    expect(systemName()).toBe('browser');
    vi.stubGlobal('location', { hostname: 'panel.example' });
    expect(systemName()).toBe('panel.example');
    vi.unstubAllGlobals();
  });
});
