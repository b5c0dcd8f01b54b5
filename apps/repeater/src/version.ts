/** The version that `/status` and the logs show; a test holds it equal to package.json. */
export const REPEATER_VERSION = '0.1.0';
