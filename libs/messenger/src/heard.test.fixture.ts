import { encodeFrame, formatTagFields, type TagFields } from '@carillon/wire';
import type { ModelRig } from './model-rig.test.fixture.ts';
import type { ReceivedEvent } from './received-event.ts';
import type { CallbackOptions } from './subscription.ts';

/** An event as the hub sends it, arriving now. */
export const arrive = (rig: ModelRig, room: string, fields: TagFields): void => rig.transport.socket.binary(encodeFrame(room, '{}', formatTagFields(fields)));

/** Stores events in room A. */
export const store = (rig: ModelRig, ...texts: string[]): void => {
  for (const body of texts) rig.hub.publish('A', { id: `id-${body}`, from: 'somebody', body });
};

/** Collects the bodies that a callback hears. */
export function hearing(rig: ModelRig, rooms: string | string[], options: CallbackOptions = {}): string[] {
  const heard: string[] = [];
  rig.messenger.subscribe(rooms, (event) => heard.push(event.text()), options);
  return heard;
}

/** Reads so many events, each when the one before was read and the hub had time. */
export async function read(events: AsyncIterable<ReceivedEvent>, rig: ModelRig, count: number): Promise<string[]> {
  const reader = events[Symbol.asyncIterator]();
  const seen: string[] = [];
  while (seen.length < count) {
    const { value, done } = await reader.next() as IteratorResult<ReceivedEvent, undefined>;
    if (done === true) break;
    seen.push(value.text());
    await rig.settle();
    if (rig.isJoined) rig.peer.catchUp();
    await rig.settle();
  }
  return seen;
}

/** What an iterable ends with. */
export async function rejection(events: AsyncIterable<ReceivedEvent>): Promise<unknown> {
  try {
    for await (const event of events) void event;
  } catch (error) {
    return error;
  }
  return undefined;
}
