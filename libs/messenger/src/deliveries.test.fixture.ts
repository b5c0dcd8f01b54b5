import type { Consumer, Delivery } from './consumer.ts';
import type { ModelRig } from './model-rig.test.fixture.ts';

/** Stores so many events in room A: bodies 1, 2, … */
export function owe(rig: ModelRig, count: number): void {
  for (let made = 0; made < count; made += 1) {
    const body = String(rig.hub.head + 1);
    rig.hub.publish('A', { id: `id-${body}`, from: 'somebody', body });
  }
}

/** Gives out what is due and reads so many deliveries. */
export async function take(rig: ModelRig, consumer: Consumer, count: number): Promise<Delivery[]> {
  rig.hub.consumers.deliver();
  await rig.settle();
  const reader = consumer[Symbol.asyncIterator]();
  const taken: Delivery[] = [];
  while (taken.length < count) {
    const { value } = await reader.next() as IteratorResult<Delivery, undefined>;
    if (value === undefined) throw new Error('it ended');
    taken.push(value);
  }
  return taken;
}

/** Lets what was said reach the hub, and its answers come back. */
export async function answered(rig: ModelRig): Promise<void> {
  await rig.settle();
  rig.peer.answer();
  await rig.settle();
}

export type Fate = 'kept' | 'waits' | { readonly code?: string };

/** What becomes of promises, as far as it is known now. */
export function fates(promises: readonly Promise<unknown>[]): Fate[] {
  const known: Fate[] = promises.map(() => 'waits');
  for (const [index, promise] of promises.entries()) promise.then(() => (known[index] = 'kept'), (error: { readonly code?: string }) => (known[index] = error));
  return known;
}

export const UNKNOWN = { code: 'DELIVERY_UNKNOWN' };
