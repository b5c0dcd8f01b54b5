/** A line for the log of the process. Fields never hold a key. */
export type AccessLog = (line: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly text: string; readonly fields: Readonly<Record<string, unknown>> }) => void;
