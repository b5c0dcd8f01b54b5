import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from './clock.ts';
import { connectWith } from './connect.ts';
import { openRig, rig, FakeTransport, turn } from './fakes.test.fixture.ts';
import { eventually, startStubHub, type StubHub } from './stub-hub.test.fixture.ts';
import { transport } from './transport-node.ts';

const accessKey = 'ck_one_secret';

describe('an access key', () => {
  let hub: StubHub | undefined;
  afterEach(() => hub?.stop());

  it('travels as a header in Node, and nothing shows it', async () => {
    hub = await startStubHub();
    const messenger = connectWith({ transport, clock: systemClock, stableAfterMs: 10_000 }, hub.url, { accessKey });
    await messenger.ready();
    const [peer] = hub.peers;
    expect([peer?.request.headers.authorization, peer?.request.url]).toEqual([`Bearer ${accessKey}`, '/connect/messenger']);
    expect(JSON.stringify(messenger.state)).not.toContain('secret');
    await messenger.close();
  });

  it('travels in the path where no header can', () => {
    const { messenger, transport: fake } = rig({ accessKey }, 'ws://hub', new FakeTransport(false));
    expect(fake.socket.url).toBe(`ws://hub/k/${accessKey}/connect/messenger`);
    expect(JSON.stringify(messenger.state)).not.toContain('secret');
  });

  it('that the hub does not take is told by the hub\'s code, and tried again', async () => {
    hub = await startStubHub({ refuseWith: 401, problem: '{"type":"urn:carillon:error:ACCESS_KEY_INVALID","status":401,"code":"ACCESS_KEY_INVALID"}' });
    const messenger = connectWith({ transport, clock: systemClock, stableAfterMs: 10_000 }, hub.url, { accessKey });
    await eventually(() => messenger.state.lastError?.code === 'ACCESS_KEY_INVALID');
    expect(messenger.state.status).toBe('waiting');
    await messenger.close();
  });

  it('that was revoked ends the messenger with the code', () => {
    const { messenger, transport: fake } = openRig({ accessKey });
    fake.socket.gone({ closeCode: 4513, reason: 'ACCESS_KEY_REVOKED' });
    expect(messenger.state).toMatchObject({ status: 'closed', lastError: { code: 'ACCESS_KEY_REVOKED' } });
  });

  it('that may not receive all rooms leaves the other rooms in force', async () => {
    const { messenger, transport: fake } = openRig({ accessKey });
    const codes: unknown[] = [];
    messenger.on('error', (error) => codes.push((error as Error & { code?: string }).code));
    messenger.subscribe(['*', 'ITB-*'], () => undefined);
    await turn();
    fake.socket.text('{"op":"error","code":"RECEIVE_DENIED","detail":"*"}');
    await turn();
    expect(fake.socket.transcript).toEqual(['{"rooms":["*"],"create":true}', '{"rooms":["ITB-*"],"create":true}']);
    expect(codes).toEqual(['RECEIVE_DENIED']);
  });
});
