/** The WebSocket and the host name of the platform: package.json's imports map says which file that is. */
// eslint-disable-next-line @nx/enforce-module-boundaries -- a relative import could not be replaced under the browser condition
export { systemName, transport } from '#transport';
