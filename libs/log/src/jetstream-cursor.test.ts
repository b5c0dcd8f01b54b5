import { describe, expect, it } from 'vitest';

import { CursorLost, JetStreamCursor } from './jetstream-cursor.ts';
import type { JetStreamLink } from './jetstream-link.ts';
import type { OpenStream } from './jetstream-stream.ts';

type Each = Parameters<JetStreamLink['subscribe']>[1];
type Message = Parameters<Each>[0];

const message = (delivered: number, pending: number): Message => ({ subject: 'carillon.1.ws.log.a', reply: `$JS.ACK.CARILLON.read.1.${delivered * 10}.${delivered}.1700000000000000000.${pending}`, data: new Uint8Array(0) }) as Message;
const status = (code: number): Message => ({ data: new Uint8Array(0), headers: { code, description: '' } }) as unknown as Message;

/** A cursor that had so many messages when it was made, and whose server answers each request with the next of these. */
async function cursorOf(pendingAtStart: number, ...answers: readonly (readonly Message[])[]): Promise<JetStreamCursor> {
  const left = [...answers];
  let listen: Each = () => undefined;
  const link = {
    ask: () => Promise.resolve({ num_pending: pendingAtStart }),
    subscribe: (_: string, each: Each) => {
      listen = each;
      return { isClosed: () => true, getSubject: () => 'inbox' };
    },
    whenLost: () => ({ release: () => undefined }),
    publish: () => queueMicrotask(() => {
      for (const each of left.shift() ?? []) listen(each);
    }),
  } as unknown as JetStreamLink;
  return JetStreamCursor.open({ link, name: 'CARILLON' } as OpenStream, { filters: ['carillon.1.ws.log.a'], from: { after: 0 } });
}

const seqsOf = async (cursor: JetStreamCursor, options: { readonly maxEvents: number; readonly isStrict?: boolean }) => {
  const { messages, end } = await cursor.fetch(options);
  return [messages.map(({ seq }) => seq), end];
};

describe('a reading position on the server', () => {
  it('gives batch after batch, up to what there is', async () => {
    const cursor = await cursorOf(3, [message(1, 2), message(2, 1)], [message(3, 0)], [status(404)]);
    expect(await seqsOf(cursor, { maxEvents: 2, isStrict: true })).toEqual([[10, 20], 'more']);
    expect(await seqsOf(cursor, { maxEvents: 2, isStrict: true })).toEqual([[30], 'all']);
    expect(await seqsOf(cursor, { maxEvents: 2, isStrict: true })).toEqual([[], 'all']);
  });

  it('finds what was lost on the way in the middle of a batch, and between two', async () => {
    for (const isStrict of [true, false]) {
      await expect((await cursorOf(3, [message(1, 2), message(3, 0)])).fetch({ maxEvents: 9, isStrict })).rejects.toBeInstanceOf(CursorLost);
      const cursor = await cursorOf(4, [message(1, 3), message(2, 2)], [message(4, 0)]);
      await cursor.fetch({ maxEvents: 2, isStrict });
      await expect(cursor.fetch({ maxEvents: 2, isStrict })).rejects.toMatchObject({ name: 'LogError', code: 'LOG_UNAVAILABLE' });
    }
  });

  it('finds that the end was lost, or all of it, by what the server had counted', async () => {
    await expect((await cursorOf(2, [message(1, 1), status(404)])).fetch({ maxEvents: 9, isStrict: true })).rejects.toBeInstanceOf(CursorLost);
    await expect((await cursorOf(2, [status(404)])).fetch({ maxEvents: 9, isStrict: true })).rejects.toBeInstanceOf(CursorLost);
    // Counted when it was sent: it came after the cursor was made.
    await expect((await cursorOf(1, [message(1, 1), status(408)])).fetch({ maxEvents: 9, isStrict: true })).rejects.toBeInstanceOf(CursorLost);
    expect(await seqsOf(await cursorOf(2, [message(1, 1), status(404)]), { maxEvents: 9 })).toEqual([[10], 'all']);
  });
});
