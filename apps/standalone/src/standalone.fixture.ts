import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { detachedHost, runProcess, type RunningProcess } from '@carillon/runtime';

import { loadStandaloneConfig } from './config.ts';
import { startStandalone, type Standalone } from './standalone.ts';

// Standalones inside the test's own process. What a test started, `stopStandalones` stops.

const running = new Set<RunningProcess>();
const folders: string[] = [];

/** A data folder that goes with this process. */
export async function makeDataDir(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'carillon-standalone-'));
  if (folders.length === 0) process.once('exit', () => folders.forEach((each) => rmSync(each, { recursive: true, force: true })));
  folders.push(folder);
  return folder;
}

/** One for all standalones of a file that ask for none: a second start on it is quick. */
let shared: Promise<string> | undefined;

export interface TestStandalone extends Standalone {
  /** `http://127.0.0.1:port` of the hub. */
  readonly url: string;
  readonly repeaterUrl: string;
  /** `http://127.0.0.1:port/api/v1` of config-manager. */
  readonly apiUrl: string;
  readonly logs: readonly string[];
  metrics(): Promise<string>;
  /** Posts an event; gives the status and the body as text. */
  post(room: string, fields?: object): Promise<{ readonly status: number; readonly text: string }>;
  stop(): Promise<void>;
}

export interface TestStandaloneOptions {
  /** Of the hub; default: any. */
  readonly port?: number;
  readonly demo?: boolean;
  readonly dataDir?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startTestStandalone({ port = 0, demo = false, dataDir, env = {} }: TestStandaloneOptions = {}): Promise<TestStandalone> {
  const loaded = loadStandaloneConfig({
    CARILLON_HUB_LISTEN: `127.0.0.1:${port}`, CARILLON_REPEATER_LISTEN: '127.0.0.1:0', CARILLON_STANDALONE_ADMIN_LISTEN: '127.0.0.1:0',
    CARILLON_HUB_COME_BACK_MIN_MS: '10', CARILLON_HUB_COME_BACK_MAX_MS: '50', CARILLON_REPEATER_HUB_RETRY_FIRST_MS: '50', CARILLON_REPEATER_HUB_RETRY_CAP_MS: '100',
    CARILLON_CONFIG_MANAGER_LISTEN: '127.0.0.1:0', CARILLON_DATA_DIR: dataDir ?? (await (shared ??= makeDataDir())), ...env,
  });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const { config } = loaded;
  const logs: string[] = [];
  let standalone: Standalone | undefined;
  const run = await runProcess({
    name: 'standalone', version: '0.1.0', adminListen: config.common.adminListen, logLevel: config.common.logLevel, drainTimeoutMs: config.common.drainTimeoutMs,
    host: detachedHost({ write: (line) => logs.push(line) }),
    start: async (context) => {
      standalone = await startStandalone(config, { demo, version: '0.1.0' }, context);
    },
  });
  if (standalone === undefined) throw new Error('the standalone did not start');
  running.add(run);
  const url = `http://127.0.0.1:${standalone.hub.port}`;
  return {
    ...standalone, url, logs,
    repeaterUrl: `ws://127.0.0.1:${standalone.repeater.port}`,
    apiUrl: `http://127.0.0.1:${standalone.configManager.port}/api/v1`,
    metrics: async () => (await fetch(`http://127.0.0.1:${run.adminAddress.port}/metrics`, { headers: { connection: 'close' } })).text(),
    post: async (room, fields = {}) => {
      const body = JSON.stringify({ 'affected-room': { roomID: room }, key: 'power', value: 'on', ...fields });
      const answer = await fetch(`${url}/event`, { method: 'POST', headers: { connection: 'close' }, body });
      return { status: answer.status, text: await answer.text() };
    },
    stop: async () => {
      running.delete(run);
      await run.stop('the test says so');
    },
  };
}

export async function stopStandalones(): Promise<void> {
  const runs = [...running];
  running.clear();
  await Promise.all(runs.map((run) => run.stop('the test is over')));
}
