import { configManagerProblems, configManagerSettings } from '@carillon/config-manager';
import { hubConfigProblems, hubSettingsFor } from '@carillon/hub';
import { repeaterConfigProblems, repeaterSettingsFor } from '@carillon/repeater';
import { commonSettings, loadConfig, type Config, type ConfigResult, type Environment } from '@carillon/runtime';

/**
 * A standalone takes the settings of every app it runs; it has one admin port, hands the repeater the address of its own
 * hub and a key for it, and takes programs of this machine without a key unless told otherwise.
 */
export const standaloneSettings = {
  common: commonSettings('STANDALONE', { adminListen: '127.0.0.1:7180' }),
  hub: hubSettingsFor({ access: 'loopback' }),
  repeater: repeaterSettingsFor({ access: 'loopback' }),
  configManager: configManagerSettings,
} as const;

export type StandaloneConfig = Config<typeof standaloneSettings>;

export function loadStandaloneConfig(env: Environment): ConfigResult<typeof standaloneSettings> {
  const result = loadConfig(standaloneSettings, env);
  if (!result.ok) return result;
  const { hub, repeater, configManager } = result.config;
  const problems = [...hubConfigProblems(hub), ...repeaterConfigProblems(repeater), ...configManagerProblems(configManager)];
  return problems.length === 0 ? result : { ok: false, problems };
}
