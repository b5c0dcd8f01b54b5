import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { configManagerSettings } from '@carillon/config-manager';
import { hubSettings } from '@carillon/hub';
import { repeaterSettings } from '@carillon/repeater';
import { listSettings } from '@carillon/runtime';
import { standaloneSettings } from '@carillon/standalone';
import { DROP_REASONS, ERRORS } from '@carillon/wire';
import { describe, expect, it } from 'vitest';

import { metricSections } from './metrics-page.ts';
import { ROOT } from './source-text.fixture.ts';

const text = readFileSync(join(ROOT, 'docs/operations/README.md'), 'utf8');
const found = (pattern: RegExp): string[] => [...new Set([...text.matchAll(pattern)].map(([whole, inner]) => inner ?? whole))];

describe('the operations page', () => {
  it('names settings that exist, with the addresses they have by default', () => {
    const settings = [hubSettings, repeaterSettings, configManagerSettings, standaloneSettings].flatMap((group) => listSettings(group));
    expect(found(/CARILLON_[A-Z_]*[A-Z]/g).filter((name) => !settings.some(({ env }) => env === name))).toEqual([]);
    const defaults = settings.flatMap((setting) => (setting.default === undefined ? [] : [setting.default]));
    expect(found(/`((?:127\.0\.0\.1|ws:\/\/localhost):\d+)`/g).filter((address) => !defaults.includes(address))).toEqual([]);
  });

  it('names metrics and labels that exist', () => {
    const metrics = metricSections.flatMap(({ definitions }) => definitions);
    expect(found(/\b(?:carillon|nodejs|process)_[a-z0-9_]+/g).filter((name) => !metrics.some((metric) => metric.name === name))).toEqual([]);
    for (const [, name, label] of text.matchAll(/\b(carillon_[a-z0-9_]+)\{([a-z]+)[=!]/g)) expect(metrics.find((metric) => metric.name === name)?.labels).toContain(label);
  });

  it('names codes and drop reasons that exist', () => {
    expect(found(/code="(\w+)"/g).filter((code) => !Object.hasOwn(ERRORS, code))).toEqual([]);
    expect(found(/`(bus-[a-z-]+)`/g).filter((reason) => !Object.hasOwn(DROP_REASONS, reason))).toEqual([]);
  });

  it('names commands and files that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { readonly scripts: Readonly<Record<string, string>> };
    expect(found(/npm run ([a-z-]+)/g).filter((script) => scripts[script] === undefined)).toEqual([]);
    expect(found(/\]\(([^)#]+)/g).filter((link) => !existsSync(join(ROOT, 'docs/operations', link)))).toEqual([]);
  });
});
