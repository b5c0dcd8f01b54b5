import { createInProcessExchange } from '@carillon/bus';
import { Lane, LaneGroup, V2, type LaneSink, type OutboundEvent } from '@carillon/session';
import { eventually, trackResources } from '@carillon/testing';
import { DEFAULT_LIMITS, encodeFrame, formatTagFields } from '@carillon/wire';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { HubCounts } from '../counts.ts';
import { closeAll, onClose } from '../hub.fixture.ts';
import { Replies } from './replies.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const INBOX_SUBJECT = 'carillon.1.w.inbox';

function hubOf(exchange: ReturnType<typeof createInProcessExchange>, hubId: string) {
  const counts = new HubCounts();
  const bus = exchange.connect();
  const replies = new Replies({ workspaceId: 'w', hubId, bus, counts, limits: DEFAULT_LIMITS });
  onClose(() => {
    replies.stop();
    return bus.close();
  });
  return { bus, counts, replies };
}

/** A peer that takes everything, or nothing. */
function laneOf({ takes = true } = {}): { readonly lane: Lane; readonly written: Buffer[] } {
  const written: Buffer[] = [];
  const sink: LaneSink = { writableLength: takes ? 0 : 1_000_000, destroyed: false, write: (chunk) => written.push(chunk) > 0, cork: () => undefined, uncork: () => undefined, once: () => undefined };
  return { lane: new Lane(sink, { codec: V2, owner: { laneCut: () => undefined }, group: new LaneGroup(1_000_000), maxBytes: 1_000 }), written };
}

function replyOf(body: string): OutboundEvent {
  const bytes = Buffer.from(encodeFrame('A', body));
  return { bytes, roomEnd: 1, tagEnd: 1, fields: '\tid=a\tcid=q', source: undefined, order: 0 };
}

const heardOf = (replies: Replies, inbox: string, body = '1'): Promise<string> => new Promise((resolve) => replies.send(inbox, replyOf(body), (code) => resolve(code ?? 'delivered')));

describe('replies between hubs', () => {
  it('say whether somebody took them', async () => {
    const exchange = createInProcessExchange();
    const [a, b] = [hubOf(exchange, 'aa'), hubOf(exchange, 'bb')];
    const { lane, written } = laneOf();
    const inbox = a.replies.open(lane);
    expect(await heardOf(b.replies, inbox)).toBe('delivered');
    expect(written.map((chunk) => chunk.toString('latin1'))).toEqual([expect.stringMatching(/A\tid=a\tcid=q\n1$/)]);
    expect([a.counts.received.cluster, b.counts.clusterMessages]).toEqual([1, 1]);
    a.replies.close(inbox);
    expect(await heardOf(b.replies, inbox)).toBe('REPLY_UNDELIVERABLE');
    // Cut as any peer that reads too slowly, and gone then.
    const full = a.replies.open(laneOf({ takes: false }).lane);
    expect(await heardOf(b.replies, full, 'x'.repeat(2_000))).toBe('REPLY_UNDELIVERABLE');
    expect(await heardOf(b.replies, full)).toBe('REPLY_UNDELIVERABLE');
  });

  it('wait for an answer up to a bound, and are given up when the workspace is', () => {
    const exchange = createInProcessExchange();
    const { replies } = hubOf(exchange, 'aa');
    const heard: (string | undefined)[] = [];
    for (let n = 0; n < 16_384; n += 1) replies.send('nowhere-x', replyOf('1'), (code) => heard.push(code));
    expect(heard).toEqual([]);
    replies.send('nowhere-x', replyOf('1'), (code) => heard.push(code));
    expect(heard).toEqual(['OVERLOADED']);
    replies.stop();
    expect(new Set(heard.slice(1))).toEqual(new Set(['REPLY_UNDELIVERABLE']));
    expect(heard).toHaveLength(16_385);
  });

  it('are refused when the bus takes none', async () => {
    const { bus, counts, replies } = hubOf(createInProcessExchange(), 'aa');
    expect(await heardOf(replies, 'bb-x', 'x'.repeat(bus.payloadMaxBytes))).toBe('REPLY_UNDELIVERABLE');
    await bus.close();
    expect(await heardOf(replies, 'aa-x')).toBe('REPLY_UNDELIVERABLE');
    expect(counts.dropped.samples('reason')).toEqual(expect.arrayContaining([{ value: 1, labels: { reason: 'bus-too-large' } }, { value: 1, labels: { reason: 'reply-gone' } }]));
  });

  it('that make no sense are counted and change nothing', async () => {
    const exchange = createInProcessExchange();
    const { counts, replies } = hubOf(exchange, 'aa');
    const { lane, written } = laneOf();
    const inbox = replies.open(lane);
    const stranger = exchange.connect();
    onClose(() => stranger.close());
    const bad = ['', 'x', '\n', '{}\n', 'null\n', '{"op":"reply","n":1}\n', '{"op":"reply","n":"1","hub":"bb"}\n', '{"op":"reply","n":1,"hub":"b.>"}\n', '{"op":"answer","n":1}\n'];
    for (const text of bad) stranger.publish(`${INBOX_SUBJECT}.aa`, Buffer.from(text));
    const frames = ['', 'A', `A${formatTagFields({ id: 'a' })}\n1`, `A\tto=\n1`];
    for (const frame of frames) stranger.publish(`${INBOX_SUBJECT}.aa`, Buffer.from(`{"op":"reply","n":1,"hub":"bb"}\n${frame}`));
    stranger.publish(`${INBOX_SUBJECT}.aa`, Buffer.from('{"op":"answer","n":77,"isThere":true}\n'));
    await stranger.flush();
    stranger.publish(`${INBOX_SUBJECT}.aa`, Buffer.concat([Buffer.from('{"op":"reply","n":1,"hub":"bb"}\n'), encodeFrame('A', '1', formatTagFields({ id: 'a', to: inbox }))]));
    await stranger.flush();
    await eventually(() => written.length === 1);
    const refused = counts.refused.samples('code').reduce((sum, { value }) => sum + value, 0);
    expect(refused).toBe(bad.length + frames.length);
  });
});
