/** Where the store says what it does; no field ever holds a password, a key or a statement. */
export type StoreLog = (line: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly text: string; readonly fields: Record<string, unknown> }) => void;
