import { hubConfigProblems, hubSettings } from '@carillon/hub';
import { repeaterConfigProblems, repeaterSettings } from '@carillon/repeater';
import { commonSettings, loadConfig, type Config, type ConfigResult, type Environment } from '@carillon/runtime';

/** A standalone takes the settings of every app it runs; it has one admin port, and hands the repeater the address of its own hub. */
export const standaloneSettings = {
  common: commonSettings('STANDALONE', { adminListen: '127.0.0.1:7180' }),
  hub: hubSettings,
  repeater: repeaterSettings,
} as const;

export type StandaloneConfig = Config<typeof standaloneSettings>;

export function loadStandaloneConfig(env: Environment): ConfigResult<typeof standaloneSettings> {
  const result = loadConfig(standaloneSettings, env);
  if (!result.ok) return result;
  const problems = [...hubConfigProblems(result.config.hub), ...repeaterConfigProblems(result.config.repeater)];
  return problems.length === 0 ? result : { ok: false, problems };
}
