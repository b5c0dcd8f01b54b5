import { connect } from '@carillon/messenger';
import { eventually } from '@carillon/testing';
import { afterEach, expect, it } from 'vitest';

import { startTestStandalone, stopStandalones } from './standalone.fixture.ts';

afterEach(stopStandalones);

it('hands what devices have sent to the hub before the hub drains', async () => {
  const standalone = await startTestStandalone();
  const hub = connect(standalone.url);
  let heard = 0;
  hub.subscribe('DRAIN-1', () => (heard += 1));
  const device = connect(`${standalone.repeaterUrl}/connect/DRAIN-1/DRAIN-1-CP1`);
  await Promise.all([hub.ready(), device.ready()]);
  await eventually(async () => {
    await device.send('DRAIN-1', '{}');
    return heard > 0;
  }, { what: 'the subscription to be in force' });
  heard = 0;

  const sent = 2_000;
  await Promise.all(Array.from({ length: sent }, () => device.send('DRAIN-1', '{}')));
  await standalone.stop();

  await eventually(() => heard >= sent, { what: 'every event of the device' });
  expect(standalone.logs.join('')).not.toContain('the hub is away');
  await Promise.all([hub.close(), device.close()]);
});
