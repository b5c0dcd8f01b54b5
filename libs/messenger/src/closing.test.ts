import { describe, expect, it } from 'vitest';
import { connectWith } from './connect.ts';
import { FakeClock, FakeTransport, openRig, rig, turn } from './fakes.test.fixture.ts';

describe('close', () => {
  it('ends everything once and remembers its promise', async () => {
    const { messenger, transport, clock } = rig();
    const publish = messenger.send('A', '1');
    const ready = messenger.ready();
    const reading = messenger.subscribe('A')[Symbol.asyncIterator]().next();
    const closed = messenger.close();
    expect(messenger.close()).toBe(closed);
    await expect(publish).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
    await expect(ready).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
    expect(await reading).toEqual({ done: true, value: undefined });
    expect(transport.socket.closing).toBe('close');
    transport.socket.gone({ closeCode: 1000 });
    await closed;
    expect(clock.timers).toBe(0);
    expect(messenger.state).toMatchObject({ status: 'closed', rooms: [], queuedBytes: 0 });
    expect(messenger.state.lastError).toBeUndefined();
  });

  it('cuts a socket that does not finish in 2 s', async () => {
    const { messenger, transport, clock } = openRig();
    const closed = messenger.close();
    clock.advance(2_000);
    await closed;
    expect(transport.socket.closing).toBe('terminate');
  });

  it('lets a reader have what had come', async () => {
    const { messenger, transport } = openRig();
    const events = messenger.subscribe('A');
    transport.socket.event('A', '1');
    void messenger.close();
    transport.socket.event('A', '2');
    const seen: string[] = [];
    for await (const event of events) seen.push(event.text());
    expect(seen).toEqual(['1']);
  });

  it('leaves every method with its code', async () => {
    const { messenger, transport } = openRig();
    const closed = messenger.close();
    transport.socket.gone({ closeCode: 1000 });
    await closed;
    await expect(messenger.send('A', '')).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
    await expect(messenger.ready()).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
    expect(() => messenger.subscribe('A')).toThrow(expect.objectContaining({ code: 'MESSENGER_CLOSED' }));
    await messenger.drain();
    await messenger.close();
  });

  it('stops the retries of a messenger that waits', async () => {
    const { messenger, transport, clock } = rig();
    transport.socket.gone();
    await messenger.close();
    expect(clock.timers).toBe(0);
  });

  it('may be called by a listener; statuses are told in order', () => {
    const { messenger, transport } = rig();
    const seen: string[] = [];
    messenger.on('state', ({ status }) => {
      if (status === 'open') void messenger.close();
    });
    messenger.on('state', ({ status }) => seen.push(status));
    transport.socket.open();
    expect(seen).toEqual(['open', 'closed']);
  });
});

describe('drain', () => {
  it('sends what waits, also what the socket holds, then closes', async () => {
    const { messenger, transport, clock } = rig();
    const publish = messenger.send('A', '1');
    const drained = messenger.drain();
    expect(messenger.state.status).toBe('draining');
    expect(messenger.drain()).toBe(drained);
    await expect(messenger.send('A', '2')).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
    await expect(messenger.ready()).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
    transport.socket.bufferedBytes = 10;
    transport.socket.open();
    await publish;
    clock.advance(100);
    expect(messenger.state.status).toBe('draining');
    transport.socket.bufferedBytes = 0;
    clock.advance(10);
    expect(messenger.state.status).toBe('closed');
    expect(transport.socket.transcript).toEqual(['A 1']);
    transport.socket.gone({ closeCode: 1000 });
    await drained;
    expect(clock.timers).toBe(0);
  });

  it('closes at once when nothing waits', async () => {
    const { messenger, transport } = openRig();
    const seen: string[] = [];
    messenger.on('state', ({ status }) => seen.push(status));
    const drained = messenger.drain();
    transport.socket.gone({ closeCode: 1000 });
    await drained;
    expect(seen).toEqual(['draining', 'closed']);
  });

  it('reconnects if it must', async () => {
    const { messenger, transport, clock } = rig();
    const publish = messenger.send('A', '1');
    void messenger.drain();
    transport.socket.gone();
    expect(messenger.state.status).toBe('draining');
    clock.advance(1_000);
    transport.socket.open();
    await publish;
    expect(transport.socket.transcript).toEqual(['A 1']);
    expect(messenger.state.status).toBe('closed');
  });

  it('does not reconnect for frames that were handed over and are gone', () => {
    const { messenger, transport } = openRig();
    transport.socket.bufferedBytes = 10;
    void messenger.drain();
    transport.socket.bufferedBytes = 0;
    transport.socket.gone();
    expect(messenger.state.status).toBe('closed');
  });

  it('gives up at its deadline', async () => {
    const { messenger, clock } = rig({ connectTimeoutMs: 60_000 });
    const publish = messenger.send('A', '1');
    const drained = messenger.drain({ drainTimeoutMs: 500 });
    clock.advance(500);
    await expect(publish).rejects.toMatchObject({ code: 'MESSENGER_CLOSED', message: expect.stringContaining('the drain took too long') as string });
    clock.advance(2_000);
    await drained;
  });

  it('closes at once when it is aborted', async () => {
    const { messenger, clock } = rig();
    const publish = messenger.send('A', '1');
    const abort = new AbortController();
    const drained = messenger.drain({ signal: abort.signal });
    abort.abort();
    await expect(drained).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(publish).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
    expect(messenger.state.status).toBe('closed');
    clock.advance(2_000);
    await expect(messenger.drain({ signal: abort.signal })).rejects.toMatchObject({ code: 'ABORTED' });
    await messenger.drain();
  });
});

describe('the signal of a messenger', () => {
  it('closes it', async () => {
    const abort = new AbortController();
    const { messenger, transport } = openRig({ signal: abort.signal });
    abort.abort();
    expect(messenger.state.status).toBe('closed');
    transport.socket.gone({ closeCode: 1000 });
    await messenger.close();
  });

  it('keeps one that is aborted from dialling', async () => {
    const transport = new FakeTransport();
    const messenger = connectWith({ clock: new FakeClock(), transport, stableAfterMs: 1 }, 'ws://hub', { signal: AbortSignal.abort() });
    await messenger.close();
    expect(transport.sockets).toEqual([]);
  });

  it('of ready ends the wait and nothing else', async () => {
    const { messenger, transport } = rig();
    const abort = new AbortController();
    const ready = messenger.ready({ signal: abort.signal });
    abort.abort();
    await expect(ready).rejects.toMatchObject({ code: 'ABORTED' });
    transport.socket.open();
    await turn();
    await messenger.ready();
    await expect(messenger.ready({ signal: abort.signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('the options of a messenger', () => {
  it.each([{ outboundMaxBytes: 0 }, { subscriptionMaxEvents: -1 }, { connectTimeoutMs: NaN }, { heartbeatTimeoutMs: 0 }, { backoff: { firstMs: 0, capMs: 1 } }])('%j are a mistake of the program', (options) => {
    expect(() => rig(options)).toThrow(RangeError);
  });
});
