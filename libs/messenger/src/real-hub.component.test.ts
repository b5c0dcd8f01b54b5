import { eventually } from '@carillon/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Consumer, Delivery } from './consumer.ts';
import { RealHub } from './real-hub.test.fixture.ts';

/** Below what a messenger keeps for a hub that is away. */
const FLOW_MAX = 20_000;

let hub: RealHub;

beforeAll(async () => {
  hub = await RealHub.start();
});
afterEach(() => hub.leave());
afterAll(() => hub.stop());

/** Reads deliveries as they come. */
function reading(consumer: Consumer): Delivery[] {
  const taken: Delivery[] = [];
  const reader = consumer[Symbol.asyncIterator]();
  const read = (): void => void reader.next().then(({ value, done }: IteratorResult<Delivery, undefined>) => {
    if (done === true) return;
    taken.push(value);
    read();
  });
  read();
  return taken;
}

const shown = (deliveries: readonly Delivery[]): string[] => deliveries.map(({ event, attempt }) => `${event.text()}/${attempt}`);

describe('a messenger at a hub of ours', () => {
  it('shares the events of a consumer, settles them each way, and joins again after kill -9', async () => {
    const worker = hub.join();
    const other = hub.join();
    const consumer = worker.consume('jobs', 'JOBS', { maxDeliveries: 2, window: 4 });
    const taken = reading(consumer);
    await consumer.ready();
    for (let job = 1; job <= 4; job += 1) await other.send('JOBS', `${job}`);
    await eventually(() => taken.length === 4);
    expect(shown(taken).toSorted()).toEqual(['1/1', '2/1', '3/1', '4/1']);
    const of = (job: string): Delivery => taken.findLast(({ event }) => event.text() === job)!;
    await Promise.all([of('1').ack(), of('2').nack({ reason: 'busy' }), of('3').defer(), of('4').discard('no')]);
    await expect(of('1').ack()).rejects.toMatchObject({ code: 'DELIVERY_UNKNOWN' });
    await eventually(() => taken.length === 6);
    expect(shown(taken.slice(4)).toSorted()).toEqual(['2/2', '3/1']);
    const [late, kept] = [of('3'), of('2')];
    await kept.ack();
    await hub.kill();
    await eventually(() => worker.state.status !== 'open');
    await expect(late.ack()).rejects.toMatchObject({ code: 'DELIVERY_UNKNOWN' });
    await hub.restart();
    await eventually(() => taken.length === 7);
    await of('3').ack();
    const second = other.consume('jobs', 'JOBS', { maxDeliveries: 2, window: 4 });
    const others = reading(second);
    await Promise.all([second.ready(), consumer.close()]);
    await other.send('JOBS', 'last');
    await eventually(() => others.length > 0);
    // The one that leaves may have had it for a moment.
    expect([of('3') === taken[6], others.map(({ event }) => event.text())]).toEqual([true, ['last']]);
    await others[0]?.ack();
  });

  it('hears what the hub says of settings that are not those of the consumer, or out of range', async () => {
    const messenger = hub.join();
    await messenger.consume('settings', 'S').ready();
    await expect(messenger.consume('settings', 'S', { maxDeliveries: 7 }).ready()).rejects.toMatchObject({ code: 'CONSUMER_EXISTS' });
    await expect(messenger.consume('window', 'S', { window: 5_000 }).ready()).rejects.toMatchObject({ code: 'CONSUMER_INVALID' });
  });

  it('asks and is replied to, once, and hears when nobody does', async () => {
    const [asker, replier] = [hub.join(), hub.join()];
    const replies: Promise<unknown>[] = [];
    replier.subscribe('ASK', (event) => {
      if (event.replyTo === undefined || event.text() === 'silence') return;
      replies.push(replier.reply(event, `to ${event.text()}`), replier.reply(event, 'again'));
    });
    let heard = 0;
    asker.subscribe('ASK', () => (heard += 1));
    await Promise.all([asker.ready(), replier.ready()]);
    expect((await asker.request('ASK', 'this')).text()).toBe('to this');
    expect(await Promise.all(replies)).toMatchObject([{ class: 'live' }, { class: 'live' }]);
    await expect(asker.request('ASK', 'silence', { timeoutMs: 50 })).rejects.toMatchObject({ code: 'REPLY_TIMEOUT' });
    expect(heard).toBe(0);
    const gone = hub.join();
    const asked = gone.request('ASK', 'silence', { id: 'gone' }).catch((error: unknown) => error);
    const page = async (): Promise<boolean> => (await replier.history('ASK')).events.some(({ id }) => id === 'gone');
    await eventually(page);
    await gone.close();
    expect(await asked).toMatchObject({ code: 'MESSENGER_CLOSED' });
    const request = (await replier.history('ASK')).events.find(({ id }) => id === 'gone');
    expect(request?.replyTo).toBeDefined();
    await expect(replier.reply(request!, 'late')).rejects.toMatchObject({ code: 'REPLY_UNDELIVERABLE' });
  });

  it('publishes with a delay, over a restart of the hub, and is heard once', async () => {
    const [publisher, listener] = [hub.join(), hub.join()];
    const heard: string[] = [];
    listener.subscribe('LATER', (event) => heard.push(event.text()));
    await Promise.all([publisher.ready(), listener.ready()]);
    expect(await publisher.send('LATER', 'soon', { delayMs: 2_000 })).toMatchObject({ class: 'stored', seq: 0 });
    expect(await publisher.send('LATER', 'now')).toMatchObject({ class: 'stored' });
    await eventually(() => heard.includes('now'));
    await hub.kill();
    await hub.restart();
    await eventually(() => heard.includes('soon'));
    await publisher.send('LATER', 'end');
    await eventually(() => heard.includes('end'));
    expect(heard.toSorted()).toEqual(['end', 'now', 'soon']);
    await expect(publisher.send('LATER', 'x', { delayMs: 10 ** 12 })).rejects.toMatchObject({ code: 'DELAY_INVALID' });
  });

  it('is in rooms, and sees who is, also after the hub came back', async () => {
    const [panel, board] = [hub.join(), hub.join()];
    const watch = board.watch('DOOR');
    await watch.ready();
    const presence = panel.enter('DOOR', { name: 'panel-1', data: '{"desk":4}' });
    await presence.ready();
    await eventually(() => watch.members.has('panel-1'));
    expect(watch.members.get('panel-1')).toMatchObject({ name: 'panel-1', data: '{"desk":4}' });
    await hub.drain();
    await hub.restart();
    await presence.ready();
    await watch.ready();
    await eventually(() => watch.members.has('panel-1'));
    await presence.leave();
    await eventually(() => watch.lastSeen.has('panel-1'));
    expect(watch.members.size).toBe(0);
  });

  it('loses nothing and keeps its order when the hub drains under it', async () => {
    const [publisher, listener] = [hub.join(), hub.join()];
    const heard: string[] = [];
    listener.subscribe('FLOW', (event) => heard.push(event.text()), { since: { seq: 0 } });
    await Promise.all([publisher.ready(), listener.ready()]);
    let published = 0;
    const sent: Promise<unknown>[] = [];
    const flow = (count: number): void => {
      for (let made = 0; made < count; made += 1) sent.push(publisher.send('FLOW', `${sent.length}`).then(() => (published += 1)));
    };
    flow(2_000);
    await eventually(() => published > 0);
    const drained = hub.drain();
    while (publisher.state.status === 'open' && sent.length < FLOW_MAX) {
      flow(20);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await drained;
    flow(100);
    await hub.restart();
    await Promise.all(sent);
    await eventually(() => heard.length >= sent.length);
    expect(heard).toEqual(sent.map((_, index) => `${index}`));
    const codes = hub.errors.map((error) => (error as Error & { readonly code?: string }).code);
    expect(codes).toContain('DRAINING');
    expect(codes.filter((code) => code !== 'DRAINING' && code !== 'LINK_UNREACHABLE')).toEqual([]);
  });
});
