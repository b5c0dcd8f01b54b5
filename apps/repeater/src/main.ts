import { exitWithConfigProblems, runProcess } from '@carillon/runtime';

import { loadRepeaterConfig } from './config.ts';
import { startRepeater } from './repeater.ts';
import { REPEATER_VERSION } from './version.ts';

const result = loadRepeaterConfig(process.env);
if (!result.ok) exitWithConfigProblems(result.problems);
const { config } = result;

await runProcess({
  name: 'repeater',
  version: REPEATER_VERSION,
  adminListen: config.common.adminListen,
  logLevel: config.common.logLevel,
  drainTimeoutMs: config.common.drainTimeoutMs,
  start: async (context) => {
    await startRepeater(config, context);
  },
});
