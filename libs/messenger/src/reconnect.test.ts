import { describe, expect, it } from 'vitest';
import { FakeTransport, openRig, rig, turn } from './fakes.test.fixture.ts';

const statuses = (messenger: { on(name: 'state', listener: (state: { status: string }) => void): unknown }): string[] => {
  const seen: string[] = [];
  messenger.on('state', ({ status }) => seen.push(status));
  return seen;
};

describe('a messenger and its connection', () => {
  it('is connecting at once, then open', async () => {
    const { messenger, transport } = rig();
    expect(messenger.state).toEqual({ status: 'connecting', hub: 'ws://hub/connect/messenger', attempt: 0, rooms: [], queuedBytes: 0 });
    expect(transport.socket.url).toBe('ws://hub/connect/messenger');
    const ready = messenger.ready();
    transport.socket.open();
    await ready;
    await messenger.ready();
    expect(messenger.state.status).toBe('open');
  });

  it('waits after a loss, longer each time up to the cap, with jitter', () => {
    const { messenger, transport, clock } = rig();
    const seen = statuses(messenger);
    for (const [attempt, ceilingMs] of [1_000, 2_000, 4_000, 8_000, 8_000].entries()) {
      transport.socket.gone();
      expect(messenger.state).toMatchObject({ status: 'waiting', attempt: attempt + 1, lastError: { code: 'LINK_UNREACHABLE' } });
      clock.advance(ceilingMs / 2 - 1);
      expect(transport.sockets).toHaveLength(attempt + 1);
      clock.advance(1);
      expect(transport.sockets).toHaveLength(attempt + 2);
    }
    expect(seen.slice(0, 4)).toEqual(['waiting', 'connecting', 'waiting', 'connecting']);
  });

  it('counts from the beginning only after a connection that was stable', () => {
    const { messenger, transport, clock } = openRig();
    transport.socket.gone();
    clock.advance(1_000);
    transport.socket.open();
    clock.advance(9_999);
    expect(messenger.state.attempt).toBe(1);
    transport.socket.gone();
    expect(messenger.state.attempt).toBe(2);
    clock.advance(2_000);
    transport.socket.open();
    clock.advance(10_000);
    expect(messenger.state.attempt).toBe(0);
  });

  it('stays away as long as the hub asks', () => {
    const { transport, clock } = openRig();
    transport.socket.gone({ closeCode: 1012, reason: 'DRAINING retry-after-ms=5000' });
    clock.advance(5_499);
    expect(transport.sockets).toHaveLength(1);
    clock.advance(1);
    expect(transport.sockets).toHaveLength(2);
  });

  it('forgets the hint of a loss before the last one', () => {
    const { transport, clock } = openRig();
    transport.socket.gone({ closeCode: 1012, reason: 'DRAINING retry-after-ms=5000' });
    clock.advance(5_500);
    transport.socket.gone();
    clock.advance(1_000);
    expect(transport.sockets).toHaveLength(3);
  });

  it.each([1002, 1008, 1009, 4500, 4999])('closes for good when the hub closes with %i', async (closeCode) => {
    const { messenger, transport, clock } = openRig();
    const events = messenger.subscribe('A');
    transport.socket.isOpen = false;
    const publish = messenger.send('A', 'x');
    transport.socket.gone({ closeCode, reason: 'ROOM_NAME_INVALID' });
    await expect(publish).rejects.toMatchObject({ code: 'ROOM_NAME_INVALID' });
    await expect(messenger.ready()).rejects.toMatchObject({ code: 'ROOM_NAME_INVALID' });
    await expect(events[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'ROOM_NAME_INVALID' });
    expect(messenger.state).toMatchObject({ status: 'closed', lastError: { code: 'ROOM_NAME_INVALID' } });
    await messenger.close();
    expect(clock.timers).toBe(0);
    expect(transport.sockets).toHaveLength(1);
  });

  it('rejects those who wait for it to be ready when it is refused', async () => {
    const { messenger, transport } = rig();
    const ready = messenger.ready();
    transport.socket.gone({ closeCode: 4500 });
    await expect(ready).rejects.toMatchObject({ code: 'REFUSED_FOR_GOOD' });
  });

  it('gives up a connection that does not open in time, whatever that one does later', () => {
    const { messenger, transport, clock } = rig({ connectTimeoutMs: 3_000 });
    const [first] = transport.sockets;
    clock.advance(3_000);
    expect(first?.closing).toBe('terminate');
    expect(messenger.state).toMatchObject({ status: 'waiting', lastError: { code: 'LINK_UNREACHABLE', detail: 'not open after 3000 ms' } });
    first?.open();
    first?.gone();
    expect(messenger.state).toMatchObject({ status: 'waiting', attempt: 1 });
  });

  it('gives up a hub that is silent for 90 s; pings and frames are signs of life', () => {
    const { messenger, transport, clock } = openRig();
    clock.advance(60_000);
    transport.socket.ping();
    expect(messenger.state.lastPingAt).toBe(1_060_000);
    clock.advance(60_000);
    transport.socket.event('A');
    clock.advance(89_999);
    expect(messenger.state.status).toBe('open');
    clock.advance(1);
    expect(messenger.state).toMatchObject({ status: 'waiting', lastError: { code: 'PEER_UNRESPONSIVE' } });
    expect(transport.socket.closing).toBe('terminate');
  });

  it('does not mind silence where pings cannot be seen', () => {
    const { messenger, transport, clock } = rig({}, 'ws://hub', new FakeTransport(false));
    transport.socket.open();
    clock.advance(1_000_000);
    expect(messenger.state.status).toBe('open');
  });

  it('does not mind silence at the door of a repeater, until that has pinged', () => {
    const { messenger, transport, clock } = openRig({}, 'ws://repeater/connect/ITB-1101/panel');
    clock.advance(1_000_000);
    expect(messenger.state.status).toBe('open');
    transport.socket.ping();
    clock.advance(89_999);
    transport.socket.ping();
    clock.advance(89_999);
    expect(messenger.state.status).toBe('open');
    clock.advance(1);
    expect(messenger.state.status).toBe('waiting');
  });

  it('tries again when the platform will not even dial', () => {
    const transport = new FakeTransport();
    transport.refuse = new Error('mixed content');
    const { messenger, clock } = rig({}, 'ws://hub', transport);
    clock.advance(0);
    expect(messenger.state).toMatchObject({ status: 'waiting', lastError: { detail: 'mixed content' } });
    transport.refuse = undefined;
    clock.advance(1_000);
    expect(transport.sockets).toHaveLength(1);
  });

  it('restores its rooms before it sends what waited', async () => {
    const { messenger, transport, clock } = openRig();
    messenger.subscribe(['A', 'B-*']);
    await turn();
    transport.socket.gone();
    const publishes = Promise.all([messenger.send('A', '1'), messenger.send('A', '2')]);
    messenger.subscribe('C');
    clock.advance(1_000);
    transport.socket.open();
    await publishes;
    expect(transport.socket.transcript).toEqual(['{"rooms":["A","B-*","C"],"create":true}', 'A 1', 'A 2']);
  });

  it('tells its listeners of errors, and survives those that throw', () => {
    const { messenger, transport } = openRig();
    const codes: unknown[] = [];
    messenger.on('error', () => {
      throw new Error('listener');
    });
    const stop = messenger.on('error', (error) => codes.push('code' in error ? error.code : error.message));
    messenger.on('state', () => {
      throw new Error('state listener');
    });
    transport.socket.text('{"op":"error","code":"PATTERN_INVALID","detail":"rooms[0] empty"}');
    expect(messenger.state.lastError).toEqual({ code: 'PATTERN_INVALID', detail: 'rooms[0] empty', at: 1_000_000 });
    transport.socket.text('{"op":"error","code":"FROM_THE_FUTURE"}');
    expect(messenger.state.lastError).toMatchObject({ code: 'INTERNAL', detail: 'FROM_THE_FUTURE' });
    for (const text of ['', 'hello', '{}', '{"op":"bye"}', '{"rooms":["A"],"create":true}', '{"op":"error"}']) transport.socket.text(text);
    transport.socket.binary(new TextEncoder().encode('no line feed'));
    transport.socket.gone();
    stop();
    transport.socket.gone();
    expect(codes).toEqual(['PATTERN_INVALID', 'INTERNAL', 'FRAME_LINE_FEED_MISSING', 'LINK_UNREACHABLE', 'state listener']);
  });
});
