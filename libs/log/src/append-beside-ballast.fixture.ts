import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { openLmdbLog } from './lmdb-log.ts';
import { openOutbox } from './outbox.ts';

/*
 * Fills a disk up to its last page with a file of its own, goes on with appends to a log and an outbox on it for many commits, and
 * once more when the file is gone. Arguments: the log's directory, the disk's.
 */
const COMMITS = 300;
const CHUNKS_BYTES = [65_536, 4_096];
const [dir = '', disk = ''] = process.argv.slice(2);
const quiet = { warn: () => undefined };
const ballast = join(disk, 'ballast');
const log = await openLmdbLog({ dir, log: quiet });
const outbox = await openOutbox({ dir: join(disk, 'outbox'), log: quiet, maxBytes: 1_000_000_000, overflow: 'refuse' });
const store = (id: string): Promise<unknown> => log.append({ workspaceId: 'w', room: 'r', id, atMs: 0, fields: '', body: Buffer.alloc(700, id) });
const keep = (id: string): Promise<unknown> => outbox.append({ id, frame: Buffer.concat([Buffer.from('R\n'), Buffer.alloc(700, id)]), tagEnd: 1, recordedAtMs: 0 });
const outcome = (work: Promise<unknown>, done: string): Promise<string> => work.then(() => done, (error: unknown) => String((error as { readonly code?: unknown }).code));

await store('before');
await keep('before');
const file = openSync(ballast, 'w');
for (const bytes of CHUNKS_BYTES) while (hasTaken(Buffer.alloc(bytes)));
closeSync(file);

const codes = new Set<string>();
for (let commit = 0; commit < COMMITS; commit += 1) for (const code of await Promise.all([outcome(store(`full-${commit}`), 'log'), outcome(keep(`full-${commit}`), 'outbox')])) codes.add(code);
process.stdout.write(`full: ${[...codes].sort().join(' ')}\n`);

rmSync(ballast);
process.stdout.write(`after: ${(await Promise.all([outcome(store('after'), 'log'), outcome(keep('after'), 'outbox')])).join(' ')}\n`);
await Promise.all([log.close(), outbox.close()]);

function hasTaken(chunk: Buffer): boolean {
  try {
    return writeSync(file, chunk) === chunk.length;
  } catch {
    return false;
  }
}
