import { eventOfId, type OutboxOutcome } from './outbox-event.fixture.ts';
import { openOutbox, OutboxError, type Outbox } from './outbox.ts';

/*
 * For each directory that it is given: opens the outbox, reads all of it, settles, buries and appends, and prints as one line of JSON what
 * came of it: the ids of the events in their order, how many were not what was put in, what was warned of, or the code of the refusal.
 */

function readAll(outbox: Outbox): { readonly ids: string[]; readonly strange: number } {
  const ids: string[] = [];
  let strange = 0;
  for (let after = 0; ; ) {
    const page = outbox.next(after, 1_000);
    if (page.length === 0) return { ids, strange };
    for (const { id, frame, tagEnd } of page) {
      const put = eventOfId(id);
      if (!frame.equals(put.frame) || put.tagEnd !== tagEnd) strange += 1;
      ids.push(id);
    }
    after = page.at(-1)?.key ?? 0;
  }
}

async function outcomeOf(dir: string): Promise<OutboxOutcome> {
  const warned: string[] = [];
  const open = (): Promise<Outbox> => openOutbox({ dir, log: { warn: (_fields, text) => warned.push(text) }, maxBytes: 1_000_000_000, overflow: 'refuse' });
  try {
    const outbox = await open();
    const { ids, strange } = readAll(outbox);
    const keys = outbox.next(0, 6).map(({ key }) => key);
    await Promise.all([outbox.settle(keys.slice(0, 4)), outbox.bury(keys[5] ?? 0, 'SEND_DENIED'), outbox.append(eventOfId('new-1'))]);
    await outbox.close();
    const again = await open();
    const { ids: idsThen } = readAll(again);
    await again.close();
    return { dir, ids, strange, warned, idsThen };
  } catch (error) {
    if (!(error instanceof OutboxError)) throw error;
    return { dir, code: error.code, text: error.message, warned };
  }
}

for (const dir of process.argv.slice(2)) process.stdout.write(`${JSON.stringify(await outcomeOf(dir))}\n`);
