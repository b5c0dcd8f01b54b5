export { hubConfigProblems, hubSettings, loadHubConfig, type HubConfig } from './config.ts';
export { startHub, type Hub, type HubOptions } from './hub.ts';
export { hubMetricDefinitions } from './metrics.ts';
export { openClusterBus } from './cluster-bus.ts';
