import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { systemClock } from './clock.ts';
import { connectWith } from './connect.ts';
import type { Messenger } from './messenger.ts';
import { ModelHub } from './model-hub.test.fixture.ts';
import type { MessengerOptions } from './options.ts';
import { eventually, startStubHub, type StubHub, type StubHubOptions } from './stub-hub.test.fixture.ts';
import { transport as browserTransport } from './transport-browser.ts';
import { transport as nodeTransport } from './transport-node.ts';

const hubs: StubHub[] = [];
const messengers: Messenger[] = [];

async function startHub(options?: StubHubOptions): Promise<StubHub> {
  const hub = await startStubHub(options);
  hubs.push(hub);
  return hub;
}

afterEach(async () => {
  await Promise.all(messengers.splice(0).map((messenger) => messenger.close()));
  await Promise.all(hubs.splice(0).map((hub) => hub.stop()));
  vi.unstubAllGlobals();
});

/** `ws` has the interface of the browser's WebSocket, as far as the transport uses it. */
describe.each([['Node', nodeTransport], ['a browser', browserTransport]])('a messenger in %s', (_platform, transport) => {
  function join(url: string, options: MessengerOptions = {}): Messenger {
    vi.stubGlobal('WebSocket', WebSocket);
    const messenger = connectWith({ transport, clock: systemClock, stableAfterMs: 10_000 }, url, { backoff: { firstMs: 20, capMs: 50 }, ...options });
    messengers.push(messenger);
    return messenger;
  }

  it('speaks the second protocol with a hub that does', async () => {
    const model = new ModelHub();
    const hub = await startHub({ model });
    const publisher = join(hub.url);
    const published = await publisher.send('A', '1');
    expect(published).toMatchObject({ class: 'stored', seq: 1 });
    const listener = join(hub.url);
    const seen: unknown[] = [];
    listener.subscribe('A', (event) => seen.push([event.seq, event.id, event.text()]), { since: { last: 1 } });
    await eventually(() => seen.length === 1);
    expect(seen).toEqual([[1, published.class === 'stored' && published.id, '1']]);
    expect((await listener.history('A')).events.map((event) => event.text())).toEqual(['1']);
    expect([publisher.state.protocol, hub.joined]).toEqual([2, 2]);
    await publisher.drain();
  });

  it('misses nothing and repeats nothing over a hub that restarts', async () => {
    const model = new ModelHub();
    const hub = await startHub({ model });
    const publisher = join(hub.url);
    const listener = join(hub.url);
    const seen: unknown[] = [];
    listener.subscribe('A', (event) => seen.push(event.text()), { since: { seq: 0 } });
    await publisher.send('A', '0');
    const sent = [1, 2, 3].map((count) => publisher.send('A', String(count)));
    await hub.stop();
    sent.push(publisher.send('A', '4'));
    await startHub({ model, port: hub.port });
    await Promise.all(sent);
    await eventually(() => seen.length === 5);
    expect(seen).toEqual(['0', '1', '2', '3', '4']);
  });

  it('speaks the first protocol with a hub that ignores the offer', async () => {
    const hub = await startHub();
    const messenger = join(hub.url);
    expect(await messenger.send('A', '1')).toEqual({ class: 'sent' });
    await eventually(() => hub.heard.length === 1);
    expect([hub.offersIgnored, hub.joined, messenger.state.protocol]).toEqual([1, 1, 1]);
    expect(messenger.state.lastError).toBeUndefined();
  });
});
