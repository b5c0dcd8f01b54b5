import { openOutbox } from './outbox.ts';

/*
 * Appends pipelined events to an outbox until it is killed, settling every third; prints `a <id>` once an append resolved and `s <id>`
 * before a settle is asked for. Arguments: directory, prefix of the ids.
 */
const WINDOW_COUNT = 100;
const [dir = '', prefix = ''] = process.argv.slice(2);
const outbox = await openOutbox({ dir, log: { warn: () => undefined }, maxBytes: 1_000_000_000, overflow: 'refuse' });
let count = 0;

async function append(): Promise<never> {
  for (;;) {
    const id = `${prefix}-${(count += 1)}`;
    const room = `r${count % 10}`;
    const isSettled = count % 3 === 0;
    const { record } = await outbox.append({ id, frame: Buffer.from(`${room}\n${id.repeat(20)}`), tagEnd: room.length, recordedAtMs: Date.now() });
    process.stdout.write(`a ${id}\n`);
    if (!isSettled) continue;
    process.stdout.write(`s ${id}\n`);
    void outbox.settle([record.key]);
  }
}

process.stdout.write('ready\n');
await Promise.all(Array.from({ length: WINDOW_COUNT }, append));
