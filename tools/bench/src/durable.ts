import { measureFanOut } from './fan-out.ts';
import { PipelinedPublisher } from './pipelined-publisher.ts';
import { startHubSubject } from './subject.ts';

/** What storing costs a hub: acked events a second from publishers that do not wait, and its CPU for an event beside that of a live one. */
export interface DurableResult {
  readonly ackedPerSecond: number;
  readonly refused: number;
  readonly cpuMicrosPerAcked: number;
  readonly subscribers: number;
  readonly liveCpuMicrosPerEvent: number;
  readonly durableCpuMicrosPerEvent: number;
  /** The second over the first, of the same run. */
  readonly costRatio: number;
  readonly lost: number;
}

const PUBLISHERS = 4;
const IN_FLIGHT = 1_000;
const EVENTS_EACH = 50_000;
const SUBSCRIBERS = 100;
const FAN_OUT_IN_FLIGHT = 50;
export const DURABLE = { CARILLON_HUB_LOG: 'on', CARILLON_HUB_DEFAULT_LANE: 'durable' };

export async function measureDurable({ seconds, rounds, eventBytes }: { readonly seconds: number; readonly rounds: number; readonly eventBytes: number }): Promise<DurableResult> {
  const [live, durable] = [await startHubSubject(), await startHubSubject(DURABLE)];
  try {
    const publishers = await Promise.all(Array.from({ length: PUBLISHERS }, (_, at) => PipelinedPublisher.connect(durable, { room: `BENCH-${at + 2}`, eventBytes, inFlight: IN_FLIGHT, name: `p${at}` })));
    await Promise.all(publishers.map((publisher) => publisher.publish(EVENTS_EACH / 10)));
    const [cpuBefore, begun] = [durable.cpuSeconds(), performance.now()];
    await Promise.all(publishers.map((publisher) => publisher.publish(EVENTS_EACH)));
    const [tookS, cpuS] = [(performance.now() - begun) / 1_000, durable.cpuSeconds() - cpuBefore];
    const refused = publishers.reduce((sum, publisher) => sum + publisher.refused, 0);
    for (const publisher of publishers) publisher.destroy();

    const shape = { subscribers: SUBSCRIBERS, inFlight: FAN_OUT_IN_FLIGHT, seconds, eventBytes };
    const micros = { live: [] as number[], durable: [] as number[] };
    let lost = 0;
    for (let round = 0; round < rounds; round += 1) {
      for (const [name, subject] of [['live', live], ['durable', durable]] as const) {
        const measured = await measureFanOut(subject, shape);
        micros[name].push((SUBSCRIBERS * 1_000_000) / measured.deliveriesPerCpuSecond);
        lost += measured.lost;
      }
    }
    const [liveCpuMicrosPerEvent, durableCpuMicrosPerEvent] = [median(micros.live), median(micros.durable)];
    return {
      ackedPerSecond: Math.round((PUBLISHERS * EVENTS_EACH) / tookS), refused, cpuMicrosPerAcked: rounded((cpuS * 1_000_000) / (PUBLISHERS * EVENTS_EACH)),
      subscribers: SUBSCRIBERS, liveCpuMicrosPerEvent: rounded(liveCpuMicrosPerEvent), durableCpuMicrosPerEvent: rounded(durableCpuMicrosPerEvent),
      costRatio: rounded(durableCpuMicrosPerEvent / liveCpuMicrosPerEvent), lost,
    };
  } finally {
    await Promise.all([live.stop(), durable.stop()]);
  }
}

const rounded = (value: number): number => Math.round(value * 100) / 100;

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? Number.NaN;
}
