import { SUBPROTOCOL_V2 } from '@carillon/wire';
import { describe, expect, it } from 'vitest';
import { AccessKeys } from './access-keys.ts';
import { fates } from './deliveries.test.fixture.ts';
import { FakeTransport, turn } from './fakes.test.fixture.ts';
import { joinedRig, ModelRig } from './model-rig.test.fixture.ts';

const accessKey = 'ck_one_secret';
const next = 'ck_two_secret';

/** With what the newest socket was dialled. */
const shown = ({ transport }: ModelRig): string | undefined => transport.socket.headers['authorization'];

describe('a new key', () => {
  it('K1: is taken by the hub of the live connection, and presented from then on', async () => {
    const rig = await joinedRig({ accessKey, headers: { 'x-origin': 'lab' } });
    const known = fates([rig.messenger.refresh(next)]);
    await rig.settle();
    expect([known, rig.said('refresh'), shown(rig)]).toEqual([['kept'], [{ op: 'refresh', request: '_-1', key: next }], `Bearer ${accessKey}`]);
    await rig.rejoin();
    expect([shown(rig), rig.transport.socket.headers['x-origin'], rig.said('refresh')]).toEqual([`Bearer ${next}`, 'lab', []]);
  });

  it('K1 K3: that is refused is presented no more, and told nowhere', async () => {
    const rig = await joinedRig({ accessKey }, { refuseKey: () => 'ACCESS_WORKSPACE_CHANGED' });
    const refused = rig.messenger.refresh(next).catch((error: Error) => error);
    await rig.settle();
    expect(await refused).toMatchObject({ code: 'ACCESS_WORKSPACE_CHANGED' });
    await rig.rejoin();
    expect(shown(rig)).toBe(`Bearer ${accessKey}`);
    const told = JSON.stringify([rig.messenger.state, rig.errors, String(await refused), await refused]);
    expect(told).not.toContain('secret');
  });

  it('K1: takes the place of one in the address, in Node and in browsers', () => {
    const refreshed = (url: string, sendsHeaders: boolean, headers = {}): unknown => {
      const keys = new AccessKeys({ access: { url, headers }, sendsHeaders, onChange: () => undefined });
      void keys.refresh(next);
      return keys.present();
    };
    const plain = 'ws://hub/connect/messenger';
    for (const url of [plain, `ws://hub/k/${accessKey}/connect/messenger`, `${plain}?key=${accessKey}`]) {
      expect(refreshed(url, true, { Authorization: 'Bearer old', other: '1' })).toEqual({ url: plain, headers: { other: '1', authorization: `Bearer ${next}` } });
      expect(refreshed(url, false)).toEqual({ url: `ws://hub/k/${next}/connect/messenger`, headers: {} });
    }
  });

  it('is presented by the next dial when there is no connection, and taken when that opens', async () => {
    const rig = await joinedRig({ accessKey });
    rig.cut();
    const known = fates([rig.messenger.refresh(next)]);
    rig.clock.advance(4_000);
    await turn();
    expect([known, shown(rig)]).toEqual([['waits'], `Bearer ${next}`]);
    rig.join();
    await rig.settle();
    expect([known, rig.said('refresh')]).toEqual([['kept'], []]);
    await rig.rejoin();
    expect(shown(rig)).toBe(`Bearer ${next}`);
  });

  it('is asked for when the connection that is being made was dialled with the old one', async () => {
    const rig = new ModelRig({ accessKey });
    const known = fates([rig.messenger.refresh(next)]);
    rig.join();
    await rig.settle();
    expect([known, rig.said('refresh').length, shown(rig)]).toEqual([['kept'], 1, `Bearer ${accessKey}`]);
  });

  it('is given up when a dial with it is refused for it, and not when it is lost otherwise', async () => {
    const rig = await joinedRig({ accessKey });
    rig.cut();
    const known = fates([rig.messenger.refresh(next)]);
    rig.clock.advance(4_000);
    rig.transport.socket.gone({ code: 'LINK_UNREACHABLE' });
    rig.clock.advance(4_000);
    await turn();
    expect([known, shown(rig)]).toEqual([['waits'], `Bearer ${next}`]);
    rig.transport.socket.gone({ code: 'ACCESS_KEY_INVALID' });
    rig.clock.advance(8_000);
    await turn();
    expect([known, shown(rig)]).toMatchObject([[{ code: 'ACCESS_KEY_INVALID' }], `Bearer ${accessKey}`]);
  });

  it('is not given up when the old one was refused meanwhile', async () => {
    const rig = new ModelRig({ accessKey });
    const known = fates([rig.messenger.refresh(next)]);
    rig.transport.socket.gone({ code: 'ACCESS_KEY_EXPIRED' });
    rig.clock.advance(4_000);
    await turn();
    expect([known, shown(rig)]).toEqual([['waits'], `Bearer ${next}`]);
  });

  it('is tried by a dial when the connection is lost before the hub has answered', async () => {
    const rig = await joinedRig({ accessKey });
    const known = fates([rig.messenger.refresh(next)]);
    await turn();
    rig.cut();
    rig.clock.advance(4_000);
    expect(shown(rig)).toBe(`Bearer ${next}`);
    rig.join();
    await rig.settle();
    expect([known, rig.said('refresh')]).toEqual([['kept'], []]);
  });

  it('is for the next connection over the first protocol', async () => {
    const rig = new ModelRig({ accessKey });
    const early = fates([rig.messenger.refresh('ck_early')]);
    rig.transport.socket.open();
    await turn();
    expect(early).toEqual(['kept']);
    await rig.messenger.refresh(next);
    expect(rig.transport.socket.sent).toEqual([]);
    rig.transport.socket.gone();
    rig.clock.advance(4_000);
    expect(shown(rig)).toBe(`Bearer ${next}`);
  });

  it('K2: comes one at a time, is a key, and ends with its messenger', async () => {
    const rig = await joinedRig({ accessKey });
    const known = fates([rig.messenger.refresh(next), rig.messenger.refresh('ck_three'), rig.messenger.refresh(''), rig.messenger.refresh('a\nb'), rig.messenger.refresh('x'.repeat(513))]);
    await turn();
    expect(known).toMatchObject(['waits', { code: 'REQUESTS_EXCEEDED' }, { code: 'ACCESS_KEY_INVALID' }, { code: 'ACCESS_KEY_INVALID' }, { code: 'ACCESS_KEY_INVALID' }]);
    void rig.messenger.close();
    await turn();
    expect(known[0]).toMatchObject({ code: 'MESSENGER_CLOSED' });
    await expect(rig.messenger.refresh(next)).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' });
  });

  it('travels in the path where no header can', async () => {
    const rig = new ModelRig({ accessKey }, {}, 0.5, new FakeTransport(false));
    rig.transport.socket.open(SUBPROTOCOL_V2);
    rig.transport.socket.gone();
    void rig.messenger.refresh(next).catch(() => undefined);
    rig.clock.advance(4_000);
    expect(rig.transport.socket.url).toBe(`ws://hub/k/${next}/connect/messenger`);
    expect(JSON.stringify(rig.messenger.state)).not.toContain('secret');
  });
});
