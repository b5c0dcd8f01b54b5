import { formatControl, SUBPROTOCOL_V2 } from '@carillon/wire';
import { describe, expect, it } from 'vitest';
import { systemClock } from './clock.ts';
import { FakeTransport, rig } from './fakes.test.fixture.ts';
import { sessionName } from './session-name.ts';

const WELCOME = formatControl({ op: 'welcome', session: 's', heartbeatMs: 1, limits: { frameMaxBytes: 1, roomMaxBytes: 1, patternsMax: 1, publishesMax: 1 } });

const offers = (transport: FakeTransport): boolean[] => transport.sockets.map(({ protocols }) => protocols.includes(SUBPROTOCOL_V2));

describe('the offer of the second protocol', () => {
  it('C5: is made to hubs, not at the doors of others', () => {
    expect(offers(rig().transport)).toEqual([true]);
    expect(offers(rig({}, 'ws://repeater/connect/ITB-1101/panel').transport)).toEqual([false]);
    expect(offers(rig({}, 'ws://hub/connect/repeater').transport)).toEqual([false]);
  });

  it('C3 C4: that a hub ignores is left out at once, and the hub is spoken to in the first protocol', () => {
    const { messenger, transport } = rig();
    transport.socket.gone({ offerIgnored: true });
    expect(offers(transport)).toEqual([true, false]);
    expect(messenger.state).toMatchObject({ status: 'connecting', attempt: 0 });
    expect(messenger.state.lastError).toBeUndefined();
    transport.socket.open();
    expect(messenger.state).toMatchObject({ status: 'open', protocol: 1 });
  });

  it('C3: is not made again to a hub that ignored it, for ten minutes', () => {
    const { transport, clock } = rig({ connectTimeoutMs: 3_600_000 });
    transport.socket.gone({ offerIgnored: true });
    transport.socket.gone();
    clock.advance(1_000);
    expect(offers(transport)).toEqual([true, false, false]);
    clock.advance(600_000);
    transport.socket.gone();
    clock.advance(2_000);
    expect(offers(transport)).toEqual([true, false, false, true]);
  });

  it('C3 C4: may be why a handshake failed where the platform does not say: the hub is tried without, each time', () => {
    const { messenger, transport, clock } = rig({}, 'ws://hub', new FakeTransport(false));
    transport.socket.gone();
    expect(offers(transport)).toEqual([true, false]);
    transport.socket.gone();
    expect(messenger.state).toMatchObject({ status: 'waiting', attempt: 1 });
    clock.advance(1_000);
    transport.socket.gone();
    transport.socket.open();
    expect(offers(transport)).toEqual([true, false, true, false]);
    expect(messenger.state).toMatchObject({ status: 'open', protocol: 1 });
  });

  it('C3: is not doubted where the platform says why, or once a hub has taken it', () => {
    const told = rig();
    told.transport.socket.gone();
    expect(offers(told.transport)).toEqual([true]);
    const { messenger, transport, clock } = rig({}, 'ws://hub', new FakeTransport(false));
    transport.socket.open(SUBPROTOCOL_V2);
    transport.socket.text(WELCOME);
    expect(messenger.state).toMatchObject({ status: 'open', protocol: 2 });
    transport.socket.gone();
    clock.advance(1_000);
    transport.socket.gone();
    clock.advance(2_000);
    expect(offers(transport)).toEqual([true, true, true]);
  });

  it('costs a messenger that was closed meanwhile nothing', async () => {
    const { messenger, transport, clock } = rig();
    const closed = messenger.close();
    transport.socket.gone({ offerIgnored: true });
    await closed;
    expect(transport.sockets).toHaveLength(1);
    expect(clock.timers).toBe(0);
  });
});

describe('the greeting', () => {
  it('C1 C2: comes first, under one name for the life of the messenger; nothing is sent before it is answered', () => {
    const { messenger, transport, clock } = rig();
    messenger.subscribe('A');
    void messenger.send('A', '1').catch(() => undefined);
    transport.socket.open(SUBPROTOCOL_V2);
    const [hello] = transport.socket.transcript;
    expect(transport.socket.transcript).toHaveLength(1);
    expect(JSON.parse(hello ?? '')).toEqual({ op: 'hello', session: expect.stringMatching(/^[0-9A-Za-z_-]{16,64}$/) as string });
    expect(messenger.state.status).toBe('connecting');
    transport.socket.gone();
    clock.advance(1_000);
    transport.socket.open(SUBPROTOCOL_V2);
    expect(transport.socket.transcript).toEqual([hello]);
  });

  it('that is not answered in time ends the connection, whatever else the hub does', () => {
    const { messenger, transport, clock } = rig({ connectTimeoutMs: 3_000 });
    transport.socket.open(SUBPROTOCOL_V2);
    transport.socket.ping();
    transport.socket.text('{"op":"error","code":"HELLO_REQUIRED"}');
    expect(messenger.state.lastError?.code).toBe('HELLO_REQUIRED');
    clock.advance(3_000);
    expect(messenger.state).toMatchObject({ status: 'waiting', lastError: { code: 'LINK_UNREACHABLE' } });
  });

  it('that is answered ends the wait for it, also when a ping came first', () => {
    const { messenger, transport, clock } = rig({ connectTimeoutMs: 3_000 });
    transport.socket.open(SUBPROTOCOL_V2);
    transport.socket.ping();
    transport.socket.text(WELCOME);
    clock.advance(80_000);
    expect(messenger.state.status).toBe('open');
  });

  it('of two messengers is of two names', () => {
    expect(sessionName(() => systemClock.random())).not.toBe(sessionName(() => systemClock.random()));
  });
});
