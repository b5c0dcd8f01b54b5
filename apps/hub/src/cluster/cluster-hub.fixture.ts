import { eventually, type NatsServer } from '@carillon/testing';
import { expect } from 'vitest';

import { openClusterBus } from './cluster-bus.ts';
import { loadHubConfig } from '../config.ts';
import { startTestHub, type TestHub, type TestHubOptions } from '../hub.fixture.ts';

const silent = (): void => undefined;
const log = { trace: silent, debug: silent, info: silent, warn: silent, error: silent, fatal: silent, level: 'info' as const, child: () => log };

/** A hub of a cluster as the launcher makes it, ready: its bus and its log are of one NATS, which needs JetStream. */
export async function startClusterHub(nats: NatsServer, { env: more = {}, ...options }: Pick<TestHubOptions, 'env' | 'wrapLog'> = {}): Promise<TestHub> {
  const env = { CARILLON_NATS_URL: nats.url, CARILLON_HUB_LOG: 'on', ...more };
  const loaded = loadHubConfig(env);
  if (!loaded.ok) throw new Error('refused');
  const bus = openClusterBus(loaded.config, { name: 'hub-test', log });
  if (bus === undefined) throw new Error('no bus');
  const hub = await startTestHub({ ...options, bus, env });
  await eventually(async () => expect((await hub.readiness()).status).toBe(200), { what: 'the hub to be ready' });
  return hub;
}
