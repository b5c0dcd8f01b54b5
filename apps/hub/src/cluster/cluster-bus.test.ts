import { createLogger } from '@carillon/runtime';
import { eventually, startNatsServer, stopAll } from '@carillon/testing';
import { afterEach, describe, expect, it } from 'vitest';

import { openClusterBus } from './cluster-bus.ts';
import { loadHubConfig } from '../config.ts';

afterEach(stopAll);

describe('the login to NATS', () => {
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
