import pg from 'pg';

const CONNECT_TIMEOUT_MS = 10_000;

/** One statement on a connection of its own, for where there is no store (yet). */
export async function askOnce(url: string, text: string, values: readonly unknown[] = []): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, application_name: 'carillon-once', connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  // The statement reports the loss of the connection; without a listener it would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(text, [...values])).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}
