export { allRoutes, type RouteParts } from './all-routes.ts';
export { bootstrap, createFirstKey, createOwnKey, type Bootstrap, type BootstrapOptions, type OwnKey } from './bootstrap.ts';
export { configManagerProblems, configManagerSettings, loadConfigManagerConfig, type ConfigManagerConfig } from './config.ts';
export { startConfigManager, type ConfigManager, type ConfigManagerOptions } from './config-manager.ts';
export { openApiDocument } from './http/openapi.ts';
export { configManagerMetricDefinitions } from './metrics.ts';
