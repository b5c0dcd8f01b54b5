import { durationMs, listenAddress, logLevel, text } from './setting-types.ts';
import { setting } from './settings.ts';

/** The apps that have settings, as their names stand in the environment. */
export type AppName = 'HUB' | 'REPEATER' | 'CONFIG_MANAGER' | 'SYNC_WORKER' | 'OBJECT_SYNC' | 'STANDALONE';

/** Half an hour: longer than any supervisor waits, short enough that a slip of the pen shows. */
const MAX_DRAIN_TIMEOUT_MS = 1_800_000;

/** The settings every app shares; only the admin port's default is the app's own. */
export function commonSettings(app: AppName, defaults: { readonly adminListen: string }) {
  return {
    adminListen: setting({
      env: `CARILLON_${app}_ADMIN_LISTEN`, schema: listenAddress, default: defaults.adminListen,
      help: 'Where /livez, /readyz and /metrics are served; they ask for no key.',
    }),
    dataDir: setting({ env: 'CARILLON_DATA_DIR', schema: text({ max: 1_024 }), default: '.carillon', help: 'The folder for everything this machine keeps: copies of the access feed, and, where config-manager runs without CARILLON_DATABASE_URL, its PostgreSQL. Made with mode 0700.' }),
    logLevel: setting({ env: 'CARILLON_LOG_LEVEL', schema: logLevel, default: 'info', help: 'How much is logged.' }),
    drainTimeoutMs: setting({
      env: 'CARILLON_DRAIN_TIMEOUT_MS', schema: durationMs({ max: MAX_DRAIN_TIMEOUT_MS }), default: '10000', unit: 'ms',
      help: 'How long a stopping process may take to finish what it holds.',
    }),
  } as const;
}
