export type { AccessMode } from './admission.ts';
export { hubConfigProblems, hubSettings, hubSettingsFor, loadHubConfig, type HubConfig } from './config.ts';
export { openHubLog } from './hub-log.ts';
export { startHub, type Hub, type HubOptions } from './hub.ts';
export { hubMetricDefinitions } from './metrics.ts';
export { openClusterBus } from './cluster-bus.ts';
