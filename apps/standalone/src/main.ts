import { parseArgs } from 'node:util';

import { exitWithConfigProblems, runProcess } from '@carillon/runtime';

import { loadStandaloneConfig } from './config.ts';
import { startStandalone, type Standalone } from './standalone.ts';
import { welcome } from './welcome.ts';

const VERSION = '0.1.0';

const { values } = parseArgs({ options: { demo: { type: 'boolean', default: false } } });
const loaded = loadStandaloneConfig(process.env);
if (!loaded.ok) exitWithConfigProblems(loaded.problems);
const { config } = loaded;

let standalone: Standalone | undefined;
const running = await runProcess({
  name: 'standalone',
  version: VERSION,
  adminListen: config.common.adminListen,
  logLevel: config.common.logLevel,
  drainTimeoutMs: config.common.drainTimeoutMs,
  start: async (context) => {
    standalone = await startStandalone(config, { demo: values.demo, version: VERSION }, context);
  },
});
if (standalone !== undefined) process.stdout.write(welcome({ ...standalone, admin: running.adminAddress, demo: values.demo, dataDir: config.common.dataDir }));
