import { defineConfig } from 'vitest/config';

const conditions = ['@carillon/source'];
// Files of one project share their modules in a worker: reading them anew for each file costs more than half of a run.
const project = (name: string, folder: string, extra: object = {}) => ({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: { name, root: folder, include: ['src/**/*.test.ts'], isolate: false, testTimeout: 60_000, hookTimeout: 120_000, expect: { poll: { timeout: 30_000 } }, ...extra },
});

export default defineConfig({
  test: {
    reporters: ['default', './tools/test-reporter.ts'],
    // More than half of what tests do is wait, for disks, browsers and processes: five at a time keep two cores busy.
    maxWorkers: 5,
    projects: [
      project('wire', 'libs/wire'),
      project('schemas', 'libs/schemas'),
      project('messenger', 'libs/messenger'),
      project('session', 'libs/session'),
      project('bus', 'libs/bus'),
      project('log', 'libs/log'),
      project('runtime', 'libs/runtime'),
      project('testing', 'libs/testing'),
      project('access', 'libs/access'),
      project('store', 'libs/store'),
      project('hub', 'apps/hub'),
      project('repeater', 'apps/repeater'),
      project('config-manager', 'apps/config-manager'),
      project('standalone', 'apps/standalone'),
      project('docs', 'tools/docs'),
      project('bench', 'tools/bench'),
      project('e2e', 'e2e', { isolate: true, testTimeout: 300_000, hookTimeout: 300_000, sequence: { groupOrder: 1 } }),
    ],
  },
});
