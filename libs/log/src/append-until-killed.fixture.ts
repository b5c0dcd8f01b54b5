import { openLmdbLog } from './lmdb-log.ts';

/*
 * Appends pipelined events until it is killed, a consumer acking at the same time; prints `a <seq> <id>` once an append is acked
 * and `c <seq>` once a delivery is. Arguments: directory, prefix of the ids.
 */
const WINDOW_COUNT = 200;
const [dir = '', prefix = ''] = process.argv.slice(2);
const log = await openLmdbLog({ dir, log: { warn: () => undefined } });
const consumer = await log.consumer({ workspaceId: 'w', name: 'c', rooms: ['*'], from: 'start', ackTimeoutMs: 60_000, maxDeliveries: 1_000, maxInFlight: 500 }, async () => undefined);
let count = 0;

async function append(): Promise<never> {
  for (;;) {
    const id = `${prefix}-${(count += 1)}`;
    const { seq } = await log.append({ workspaceId: 'w', room: `r${count % 10}`, id, atMs: Date.now(), fields: '', body: Buffer.from(id.repeat(20)) });
    process.stdout.write(`a ${seq} ${id}\n`);
  }
}

async function consume(): Promise<never> {
  for (;;) {
    const deliveries = await consumer.pull(50, new AbortController().signal);
    await Promise.all(
      deliveries.map(async (delivery) => {
        await delivery.ack();
        process.stdout.write(`c ${delivery.event.seq}\n`);
      }),
    );
  }
}

process.stdout.write('ready\n');
await Promise.all([consume(), ...Array.from({ length: WINDOW_COUNT }, append)]);
