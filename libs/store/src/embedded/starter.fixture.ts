import { startEmbeddedPostgres } from './embedded-postgres.ts';

/** Starts or adopts the server of the directory in its first argument, says so in a line, and then ends or stays, by its second. */
const [dir = '', then] = process.argv.slice(2);
const { pid, port, adopted } = await startEmbeddedPostgres({ dir, settings: { fsync: 'off' } });
process.stdout.write(`${JSON.stringify({ pid, port, adopted })}\n`);
if (then === 'stay') setInterval(() => undefined, 60_000);
