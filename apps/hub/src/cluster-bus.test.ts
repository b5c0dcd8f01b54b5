import { createLogger } from '@carillon/runtime';
import { eventually, startNatsServer, stopAll } from '@carillon/testing';
import { afterEach, describe, expect, it } from 'vitest';

import { natsLogin, openClusterBus } from './cluster-bus.ts';
import { loadHubConfig } from './config.ts';

afterEach(stopAll);

describe('the login to NATS', () => {
  it.each([
    [['nats://a:4222'], { servers: ['nats://a:4222'] }],
    [['nats://a', 'nats://me:p%40ss@b:4223'], { servers: ['nats://a', 'nats://b:4223'], user: 'me', pass: 'p@ss' }],
    [['tls://s3cret@a:4222'], { servers: ['tls://a:4222'], token: 's3cret' }],
  ])('of %j is taken out of the URLs', (urls, login) => expect(natsLogin(urls)).toEqual(login));

  it('is used, and shows nowhere in the log', async () => {
    const server = await startNatsServer({ extraConfig: 'authorization {\n  user: hub\n  password: "s3cret-word"\n}' });
    const lines: string[] = [];
    const log = createLogger({ name: 'test', version: '0', level: 'trace', output: { write: (line: string) => void lines.push(line) } });
    const loaded = loadHubConfig({ CARILLON_NATS_URL: server.url.replace('nats://', 'nats://hub:s3cret-word@') });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    const bus = openClusterBus(loaded.config, { name: 'test', log });

    await eventually(() => bus?.state === 'connected', { what: 'the bus to be connected' });
    await bus?.close();

    expect(lines.join('')).not.toContain('s3cret-word');
  });
});
