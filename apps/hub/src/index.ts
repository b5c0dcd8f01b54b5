export type { AccessMode } from './access/admission.ts';
export { hubConfigProblems, hubSettings, hubSettingsFor, loadHubConfig, type HubConfig } from './config.ts';
export { openHubLog } from './durable/hub-log.ts';
export { startHub, type Hub, type HubOptions } from './hub.ts';
export { hubMetricDefinitions } from './metrics.ts';
export { openClusterBus } from './cluster/cluster-bus.ts';
