export { loadStandaloneConfig, standaloneSettings, type StandaloneConfig } from './config.ts';
export { startStandalone, type Standalone } from './standalone.ts';
