import { createLogger } from '@carillon/runtime';
import { eventually, startNatsServer } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

import { loadConfigManagerConfig } from './config.ts';
import { openFeedBus } from './open-bus.ts';

const log = createLogger({ name: 'test', version: '0', level: 'silent', output: { write: () => undefined } });

function busOf(env: Record<string, string>) {
  const loaded = loadConfigManagerConfig(env);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return openFeedBus(loaded.config, log);
}

describe('the bus of the feed', () => {
  it('is one of this process without NATS, and NATS with it', async () => {
    const alone = busOf({});
    expect(alone.state).toBe('connected');
    await alone.close();
    const nats = await startNatsServer();
    const bus = busOf({ CARILLON_NATS_URL: nats.url });
    await eventually(() => bus.state === 'connected');
    await bus.close();
    await nats.stop();
  });
});
