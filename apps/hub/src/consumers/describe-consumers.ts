import { LogError, type ConsumerInfo, type ConsumerSpec, type DeadDelivery, type LogConsumer } from '@carillon/log';

import { unlessUnknown, type Consumers, type KnownConsumers } from './consumers.ts';
import { generationOf, returnedName } from './returned-consumer.ts';

/** A consumer, what is owed to it, and what it has settled. */
export interface DescribedConsumer extends ConsumerInfo {
  readonly spec: ConsumerSpec;
  /** At this hub. */
  readonly members: number;
}

/*
 * The log tells nobody but members how a consumer is. Where none is here one comes to look; if the consumer was deleted meanwhile
 * that makes it anew, which is seen by where it begins: at a time that nobody asks for, the last second of the year 9999.
 */
const VISITED_FROM = { atMs: 253_402_300_799_000 } as const;
const NOTHING: Pick<ConsumerInfo, 'pending' | 'inFlight'> = { pending: 0, inFlight: 0 };

interface Visit {
  readonly own: LogConsumer;
  /** None: nobody has ever been a member. */
  readonly returned: LogConsumer | undefined;
}

/** Those that were deleted meanwhile are left out. Rejects with the log's error. */
export async function describeConsumers(specs: readonly ConsumerSpec[], consumers: Consumers): Promise<readonly DescribedConsumer[]> {
  const known = await consumers.list();
  const described: DescribedConsumer[] = [];
  // One after the other: each is asked of the log.
  for (const spec of specs) {
    const members = consumers.members(spec.name);
    const [member] = members;
    const info = member === undefined ? await visit(spec, { consumers, known }) : await infoOf(member);
    if (info !== undefined) described.push({ spec, ...info, members: members.size });
  }
  const made = new Set([...(await consumers.read()).own.values()].filter(isVisited).map(({ name }) => name));
  for (const name of made) await consumers.delete(name).catch(unlessUnknown);
  return described.filter(({ spec }) => !made.has(spec.name));
}

function isVisited({ from }: ConsumerSpec): boolean {
  return typeof from === 'object' && 'atMs' in from && from.atMs === VISITED_FROM.atMs;
}

async function visit(spec: ConsumerSpec, { consumers: { parts: { log, workspaceId }, burials }, known }: { readonly consumers: Consumers; readonly known: KnownConsumers }): Promise<ConsumerInfo | undefined> {
  const companion = known.returned.get(returnedName(workspaceId, spec.name));
  const dead = async (delivery: DeadDelivery): Promise<void> => {
    // The log tries again when there is a member who knows.
    if (companion === undefined) throw new LogError('CONSUMER_UNKNOWN', `It is not known which ${spec.name} this is.`);
    await burials.bury(spec.name, generationOf(companion), delivery);
  };
  const own = await log.consumer({ ...spec, from: VISITED_FROM }, dead);
  let returned: LogConsumer | undefined;
  try {
    if (companion !== undefined) returned = await log.consumer(companion, dead);
    return await infoOf({ own, returned });
  } finally {
    await Promise.all([own.close(), returned?.close()]);
  }
}

/** Of both parts together; undefined: there is none any more. */
async function infoOf(visit: Visit): Promise<ConsumerInfo | undefined> {
  try {
    const [own, again = NOTHING] = await Promise.all([visit.own.info(), visit.returned?.info()]);
    return { pending: own.pending + again.pending, inFlight: own.inFlight + again.inFlight, settledSeq: own.settledSeq };
  } catch (error) {
    unlessUnknown(error);
    return undefined;
  }
}
