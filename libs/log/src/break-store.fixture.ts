import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';

import { LogError, type LogState } from './event-log.ts';
import { openLmdbLog } from './lmdb-log.ts';

/*
 * Takes the disk away from under a log: its file's descriptors lead to something that cannot be written. Prints as one line of JSON what
 * the log says of it.
 */
const [dir = ''] = process.argv.slice(2);
const log = await openLmdbLog({ dir, log: { warn: () => undefined } });
const states: LogState[] = [];
log.onState((state) => states.push(state));
const append = async (id: string): Promise<string> => {
  try {
    return String((await log.append({ workspaceId: 'w', room: 'r', id, atMs: 0, fields: '', body: Buffer.from(id) })).seq);
  } catch (error) {
    return error instanceof LogError ? error.code : String(error);
  }
};

const before = await append('one');
const open = readdirSync('/proc/self/fd').filter((fd) => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).endsWith('data.mdb');
  } catch {
    return false;
  }
});
// Each takes the number of the one before it.
for (const fd of open) {
  closeSync(Number(fd));
  openSync('/dev/null', 'r');
}
const failed = [await append('two'), await append('three')];
const { events } = await log.read({ workspaceId: 'w', rooms: ['r'], after: 0, maxEvents: 10, maxBytes: 1_000 });
process.stdout.write(`${JSON.stringify({ before, failed, state: log.state, states, ids: events.map(({ id }) => id) })}\n`);
process.exit(0);
