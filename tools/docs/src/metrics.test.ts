import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { detachedHost, runProcess } from '@carillon/runtime';
import { loadStandaloneConfig, startStandalone } from '@carillon/standalone';
import { describe, expect, it } from 'vitest';

import { metricSections } from './metrics-page.ts';

const definitions = metricSections.flatMap((section) => section.definitions);

describe('the metrics', () => {
  it('have each name once', () => {
    expect(new Set(definitions.map(({ name }) => name)).size).toBe(definitions.length);
  });

  it('that a process shows are those that are described, with the same kind and help', async () => {
    const scraped = await scrapeStandalone();
    const shown = new Map([...scraped.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => [name, kind]));
    expect([...shown].sort()).toEqual(definitions.map(({ name, kind }) => [name, kind]).sort());
    for (const { name, help } of definitions) expect(scraped).toContain(`# HELP ${name} ${help}\n`);
  });
});

/** It runs every app, so it shows every metric there is. */
async function scrapeStandalone(): Promise<string> {
  const any = '127.0.0.1:0';
  const folder = await mkdtemp(join(tmpdir(), 'carillon-docs-'));
  const loaded = loadStandaloneConfig({ CARILLON_HUB_LISTEN: any, CARILLON_REPEATER_LISTEN: any, CARILLON_STANDALONE_ADMIN_LISTEN: any, CARILLON_CONFIG_MANAGER_LISTEN: any, CARILLON_DATA_DIR: folder });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const { config } = loaded;
  const { adminAddress, stop } = await runProcess({
    name: 'standalone', version: '0', adminListen: config.common.adminListen, logLevel: 'silent', drainTimeoutMs: 1_000, host: detachedHost(),
    start: async (context) => void (await startStandalone(config, { demo: false, version: '0' }, context)),
  });
  try {
    return await (await fetch(`http://127.0.0.1:${adminAddress.port}/metrics`, { headers: { connection: 'close' } })).text();
  } finally {
    await stop('the test has what it needs');
    await rm(folder, { recursive: true, force: true });
  }
}
