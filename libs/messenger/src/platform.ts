/** The WebSocket and the host name of the platform: package.json's imports map says which file that is. */
export { systemName, transport } from '#transport';
