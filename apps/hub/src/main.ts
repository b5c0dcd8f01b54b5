import { exitWithConfigProblems, runProcess } from '@carillon/runtime';

import { openClusterBus } from './cluster/cluster-bus.ts';
import { loadHubConfig } from './config.ts';
import { openHubLog } from './durable/hub-log.ts';
import { startHub } from './hub.ts';
import { VERSION } from './version.ts';

const loaded = loadHubConfig(process.env);
if (!loaded.ok) exitWithConfigProblems(loaded.problems);
const { config } = loaded;

await runProcess({
  name: 'hub',
  version: VERSION,
  adminListen: config.common.adminListen,
  logLevel: config.common.logLevel,
  drainTimeoutMs: config.common.drainTimeoutMs,
  start: async (context) => {
    const bus = openClusterBus(config, { name: 'carillon-hub', log: context.log });
    const eventLog = await openHubLog(config, { name: 'carillon-hub', log: context.log });
    await startHub({ config, version: VERSION, ...(eventLog === undefined ? {} : { eventLog }), ...(bus === undefined ? {} : { bus, feedBus: bus }) }, context);
  },
});
