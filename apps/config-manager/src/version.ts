/** The version that the document and metrics show; a test holds it equal to package.json. */
export const VERSION = '0.1.0';
