export { loadRepeaterConfig, repeaterConfigProblems, repeaterSettings, repeaterSettingsFor, type AccessMode, type RepeaterConfig } from './config.ts';
export { repeaterMetricDefinitions } from './metrics.ts';
export { startRepeater, type Repeater } from './repeater.ts';
export { REPEATER_VERSION } from './version.ts';
