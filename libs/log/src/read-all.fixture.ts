import { LogError } from './event-log.ts';
import { openLmdbLog } from './lmdb-log.ts';

/*
 * For each directory that it is given: opens the log, reads all of it, appends an event, and prints as one line of JSON what came of
 * it: how many events were whole, what was said to be missing, or the code of the refusal.
 */
async function readAll(dir: string): Promise<unknown> {
  try {
    const log = await openLmdbLog({ dir, log: { warn: () => undefined } });
    let events = 0;
    const gaps: string[] = [];
    for (let after = 0, isLast = false; !isLast; ) {
      const page = await log.read({ workspaceId: 'w', rooms: ['*'], after, maxEvents: 512, maxBytes: 4 * 1024 * 1024 });
      events += page.events.filter((event) => Buffer.from(event.body).toString() === event.id.repeat(20)).length;
      gaps.push(...page.gaps.map(({ from, to, reason }) => `${reason} ${from}-${to}`));
      ({ next: after, isLast } = page);
    }
    const { seq } = await log.append({ workspaceId: 'w', room: 'r1', id: 'late', atMs: Date.now(), fields: '', body: Buffer.from('late') });
    await log.close();
    return { dir, events, gaps, seq };
  } catch (error) {
    if (!(error instanceof LogError)) throw error;
    return { dir, code: error.code, text: error.message };
  }
}

for (const dir of process.argv.slice(2)) process.stdout.write(`${JSON.stringify(await readAll(dir))}\n`);
