import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

import { encodeFrame } from '@carillon/wire';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { compose, LaneGroup, LiveTail, SSE, V1, type LaneCut, type LiveTailOptions, type OutboundEvent } from './index.ts';

/** Waits for a condition; looks again every few milliseconds. */
const eventually = <T>(check: () => T | Promise<T>, intervalMs = 10): Promise<T> => vi.waitFor(check, { timeout: 10_000, interval: intervalMs });
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface Tailed { readonly tail: LiveTail; readonly response: IncomingMessage; readonly got: () => string; readonly isEnded: () => boolean; readonly closes: { droppedEvents: number; cut: LaneCut | undefined }[]; readonly group: LaneGroup; readonly openSockets: () => Promise<number> }

/** A live tail over HTTP, with the reader's side of it. */
async function openTail(laneMaxBytes = 1_000_000, more: Pick<LiveTailOptions, 'codec' | 'retryMs'> = {}): Promise<Tailed> {
  const group = new LaneGroup(100_000_000);
  const closes: Tailed['closes'] = [];
  const tails: LiveTail[] = [];
  const server = createServer((_request, response) => tails.push(new LiveTail(response, { group, laneMaxBytes, ...more, closed: (droppedEvents, cut) => closes.push({ droppedEvents, cut }) })));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => new Promise((resolve) => server.close(resolve)), () => server.closeAllConnections());
  const asked = request({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', agent: false }).end();
  asked.on('error', () => undefined);
  undo.push(() => asked.destroy());
  const response = await new Promise<IncomingMessage>((resolve) => asked.once('response', resolve));
  const pieces: Buffer[] = [];
  let isEnded = false;
  response.on('data', (piece: Buffer) => pieces.push(piece));
  response.on('end', () => (isEnded = true));
  response.on('error', () => (isEnded = true));
  const openSockets = (): Promise<number> => new Promise((resolve) => server.getConnections((_error, sockets) => resolve(sockets)));
  return { tail: tails[0] as LiveTail, openSockets, response, got: () => Buffer.concat(pieces).toString(), isEnded: () => isEnded, closes, group };
}

const event = (body: string, fields = ''): OutboundEvent => ({ bytes: Buffer.from(encodeFrame('ITB-1101', body)), roomEnd: 8, tagEnd: 8, fields, source: undefined, order: 0 });
const write = ({ tail }: Tailed, ...events: OutboundEvent[]): void => tail.lane.write(compose(events, SSE), events.length);
const numbersIn = (text: string): number[] => [...text.matchAll(/^data: #([0-9]+) *$/gm)].map((match) => Number(match[1]));
const large = (number: number): OutboundEvent => event(`#${number}`.padEnd(100_000));

/** Writes until the reader, who has stopped, lets nothing more through and some of it waits in the lane. */
async function backlog(tailed: Tailed, waitingBytes: number): Promise<number> {
  let count = 0;
  while (tailed.tail.lane.queuedBytes < waitingBytes && !tailed.tail.lane.closed) {
    write(tailed, large(count));
    count += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return count;
}

describe('a live tail', () => {
  it('is a stream of server-sent events that nobody stores', async () => {
    const { response, got } = await openTail();
    expect(response.statusCode).toBe(200);
    expect(response.headers).toMatchObject({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    await eventually(() => expect(got()).toBe(': connected\n\n'));
  });

  it('carries events in order, with their ids, and comments in between', async () => {
    const tailed = await openTail();
    write(tailed, event('{"a":1}', '\tid=x1'), event('{\n"b":2}'));
    tailed.tail.keepAlive();
    write(tailed, event('{}'));
    await eventually(() => expect(tailed.got()).toBe(': connected\n\nid: x1\ndata: ITB-1101\ndata: {"a":1}\n\ndata: ITB-1101\ndata: {\ndata: "b":2}\n\n: keep-alive\n\ndata: ITB-1101\ndata: {}\n\n'));
  });

  it('lets a reader catch up that has paused', async () => {
    const tailed = await openTail(20_000_000);
    tailed.response.pause();
    const count = await backlog(tailed, 2_000_000);
    tailed.tail.keepAlive();
    tailed.response.resume();
    await eventually(() => expect(numbersIn(tailed.got()).length).toBe(count));
    expect(numbersIn(tailed.got())).toEqual(Array.from({ length: count }, (_, at) => at));
    expect([tailed.group.queuedBytes, tailed.group.backloggedLanes, tailed.closes]).toEqual([0, 0, []]);
    write(tailed, event('#12345'));
    await eventually(() => expect(numbersIn(tailed.got()).at(-1)).toBe(12_345));
  });

  it('is cut when its reader is too slow, and says so at its end', async () => {
    const tailed = await openTail(300_000);
    tailed.response.pause();
    const count = await backlog(tailed, Infinity);
    expect(tailed.closes).toEqual([{ droppedEvents: expect.any(Number) as number, cut: 'PEER_SLOW' }]);
    tailed.response.resume();
    await eventually(() => expect(tailed.isEnded()).toBe(true));
    const numbers = numbersIn(tailed.got());
    expect(numbers).toEqual(Array.from({ length: count - (tailed.closes[0]?.droppedEvents ?? 0) }, (_, at) => at));
    expect(tailed.got()).toMatch(/\n\nevent: error\ndata: \{"code":"PEER_SLOW","title":"[^"]+"\}\n\n$/);
    expect([tailed.closes.length, tailed.group.queuedBytes]).toEqual([1, 0]);
  });

  it('says when to come back where it is worth it, and shows events as it is told', async () => {
    const tailed = await openTail(300_000, { codec: V1, retryMs: () => 1_499.6 });
    expect(tailed.tail.lane.codec).toBe(V1);
    tailed.tail.lane.cut('MEMORY_PRESSURE');
    await eventually(() => expect(tailed.isEnded()).toBe(true));
    expect(tailed.got()).toMatch(/^: connected\n\nretry: 1500\nevent: error\ndata: \{"code":"MEMORY_PRESSURE","title":"[^"]+"\}\n\n$/);
  });

  it.each([
    ['cut', 300_000, (): void => undefined],
    ['drained', 20_000_000, (tail: LiveTail): void => tail.drain(5)],
  ])('that is %s does not live on with a reader who never reads', async (_how, laneMaxBytes, end) => {
    const tailed = await openTail(laneMaxBytes);
    tailed.response.pause();
    const count = await backlog(tailed, 1_000_000);
    end(tailed.tail);
    expect(await tailed.openSockets()).toBe(1);
    await eventually(async () => expect([await tailed.openSockets(), tailed.closes.length]).toEqual([0, 1]));
    expect(tailed.tail.lane.writtenEvents + (tailed.closes[0]?.droppedEvents ?? 0)).toBe(count);
    expect(tailed.group.queuedBytes).toBe(0);
  });

  it('is over when its reader leaves, and counts what waited', async () => {
    const tailed = await openTail(20_000_000);
    tailed.response.pause();
    const count = await backlog(tailed, 1_000_000);
    tailed.response.destroy();
    await eventually(() => expect(tailed.closes).toEqual([{ droppedEvents: expect.any(Number) as number, cut: undefined }]));
    expect(tailed.tail.lane.writtenEvents + (tailed.closes[0]?.droppedEvents ?? 0)).toBe(count);
    write(tailed, event('late'));
    tailed.tail.keepAlive();
    tailed.tail.drain(5);
    await new Promise((resolve) => setImmediate(resolve));
    expect([tailed.closes.length, tailed.group.queuedBytes]).toEqual([1, 0]);
  });

  it('is drained after what it holds, with the time to come back', async () => {
    const tailed = await openTail(20_000_000);
    tailed.response.pause();
    const count = await backlog(tailed, 1_000_000);
    tailed.tail.drain(1_499.6);
    tailed.tail.drain(1);
    write(tailed, event('late'), event('late'));
    tailed.tail.keepAlive();
    tailed.response.resume();
    await eventually(() => expect(tailed.isEnded()).toBe(true));
    expect(numbersIn(tailed.got()).length).toBe(count);
    expect(tailed.got()).toMatch(/\n\nretry: 1500\nevent: drain\ndata: \{"code":"DRAINING"\}\n\n$/);
    expect(tailed.got()).not.toContain('late');
    await eventually(() => expect(tailed.closes).toEqual([{ droppedEvents: 2, cut: undefined }]));
  });
});
