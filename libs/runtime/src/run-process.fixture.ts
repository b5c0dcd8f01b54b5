import { exitWithConfigProblems, listenAddress, loadConfig, runProcess, setting, type ProcessContext } from './index.ts';

// A process that a test drives: the first argument says how it lives and dies, the second is its admin port (default: any).

const [mode = 'run', port = '0'] = process.argv.slice(2);
const never = () => new Promise<void>((resolve) => void setTimeout(resolve, 600_000));

const starts: Readonly<Record<string, (context: ProcessContext) => void | Promise<void>>> = {
  'run': ({ add, log }) => {
    add({ name: 'store', drain: async () => log.info({}, 'store drained'), stop: async () => log.info({}, 'store stopped') });
    add({ name: 'door', drain: async () => log.info({}, 'door drained'), stop: async () => log.info({}, 'door stopped') });
  },
  'hang': ({ add }) => add({ name: 'stuck', drain: never, stop: async () => undefined }),
  'throw': () => void setImmediate(() => {
    throw new Error('nobody caught this');
  }),
  'reject': () => void setImmediate(() => void Promise.reject(new Error('nobody awaited this'))),
  'leak': () => void setInterval(() => undefined, 1_000),
  'stop-fails': ({ add }) => add({ name: 'broken', stop: () => Promise.reject(new Error('it is broken')) }),
  'start-fails': ({ add, log }) => {
    add({ name: 'first', stop: async () => log.info({}, 'first stopped') });
    throw new Error('the second thing is missing');
  },
};

if (mode === 'config') {
  const result = loadConfig({ listen: setting({ env: 'CARILLON_FIXTURE_LISTEN', schema: listenAddress, help: 'Where it listens.' }) }, { CARILLON_FIXTURE_LISEN: 'x' });
  if (!result.ok) exitWithConfigProblems(result.problems);
}

await runProcess({
  name: 'fixture', version: '0.0.0', logLevel: 'info', adminListen: { host: '127.0.0.1', port: Number(port) },
  drainTimeoutMs: mode === 'hang' ? 60_000 : 5_000,
  start: async (context) => starts[mode]?.(context),
});
