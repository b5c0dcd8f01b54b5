import { join, resolve } from 'node:path';

import { exitWithConfigProblems, keepSecret, runProcess } from '@carillon/runtime';
import { openStore } from '@carillon/store';

import { loadConfigManagerConfig } from './config.ts';
import { startConfigManager } from './config-manager.ts';
import { openFeedBus } from './open-bus.ts';
import { VERSION } from './version.ts';

const loaded = loadConfigManagerConfig(process.env);
if (!loaded.ok) exitWithConfigProblems(loaded.problems);
const { config } = loaded;
const { dataDir } = config.common;

await runProcess({
  name: 'config-manager',
  version: VERSION,
  adminListen: config.common.adminListen,
  logLevel: config.common.logLevel,
  drainTimeoutMs: config.common.drainTimeoutMs,
  start: async (context) => {
    const { log } = context;
    const store = await openStore({ dataDir, url: config.database.url, poolMax: config.database.poolMax, log: ({ level, text, fields }) => log[level](fields, text) });
    context.add({ name: 'store', stop: () => store.close() });
    const feedBus = openFeedBus(config, log);
    context.add({ name: 'feed bus', stop: () => feedBus.close() });
    await startConfigManager({
      config, version: VERSION, store, feedBus,
      keepPassword: async (password) => {
        const path = resolve(join(dataDir, 'admin-password'));
        await keepSecret(path, password);
        log.info({ path }, 'the administrator\'s first password is in this file: sign in, change it, delete the file');
      },
    }, context);
  },
});
