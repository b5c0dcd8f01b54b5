import { matchesPattern } from '@carillon/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BatchWriter, createRoute, Lane, LaneGroup, Subscriptions, V1, V2, type LaneSink, type OutboundEvent } from './index.ts';
import { maskedV1 } from './codec.ts';

// Subscriptions, rights and batches together, against a model that has none of their short cuts.

const ROOMS = ['A', 'A-1', 'B', 'B-1'] as const;
const PATTERNS = [...ROOMS, '*', 'A*', 'A**', 'B-*'] as const;
const NAMES = ['power', 'alarm', undefined] as const;
/** What private codecs mask with here: nothing, so that all frames can be read alike. */
const UNMASKED = maskedV1(() => 0);
const LANES = [V1, V1, V1, V2, V2, UNMASKED] as const;

type Room = (typeof ROOMS)[number];
type Right = 'allow' | 'deny' | 'power' | 'alarm';

type Step =
  | { readonly do: 'event'; readonly room: Room; readonly name: (typeof NAMES)[number]; readonly source: number | undefined; readonly beside: number | undefined }
  | { readonly do: 'add' | 'remove'; readonly lane: number; readonly pattern: (typeof PATTERNS)[number] }
  | { readonly do: 'right'; readonly lane: number; readonly room: Room; readonly right: Right }
  | { readonly do: 'flush' };

const lane = fc.nat({ max: LANES.length - 1 });
const room = fc.constantFrom(...ROOMS);
const event = fc.record({ do: fc.constant('event' as const), room, name: fc.constantFrom(...NAMES), source: fc.option(lane, { nil: undefined }), beside: fc.option(lane, { nil: undefined }) });
const subscription = fc.record({ do: fc.constantFrom('add' as const, 'add' as const, 'remove' as const), lane, pattern: fc.constantFrom(...PATTERNS) });
const right = fc.record({ do: fc.constant('right' as const), lane, room, right: fc.constantFrom<Right>('allow', 'allow', 'deny', 'power', 'alarm') });
const step: fc.Arbitrary<Step> = fc.oneof({ weight: 6, arbitrary: event }, { weight: 3, arbitrary: subscription }, { weight: 2, arbitrary: right }, { weight: 1, arbitrary: fc.constant({ do: 'flush' as const }) });

class Sink implements LaneSink {
  readonly writableLength = 0;
  readonly destroyed = false;
  readonly chunks: Buffer[] = [];
  write(chunk: Buffer): boolean {
    // A copy: a chunk that many lanes share must not be written to later.
    this.chunks.push(Buffer.from(chunk));
    return true;
  }
  cork(): void {}
  uncork(): void {}
  once(): void {}
}

/** The bodies of a lane's frames; all are short. */
function bodiesOf({ chunks }: Sink): string[] {
  const bytes = Buffer.concat(chunks);
  const bodies: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const second = bytes.readUInt8(at + 1);
    const start = at + 2 + (second >= 0x80 ? 4 : 0);
    at = start + (second & 0x7f);
    bodies.push(bytes.toString('latin1', start, at).split('\n')[1] ?? '');
  }
  return bodies;
}

const may = (held: Right, name: string | undefined): boolean => held === 'allow' || held === name;

function run(steps: readonly Step[]): void {
  const sinks = LANES.map(() => new Sink());
  const group = new LaneGroup(1_000_000);
  const lanes = LANES.map((codec, at) => new Lane(sinks[at] as Sink, { codec, group, maxBytes: 1_000_000, owner: { laneCut: () => undefined } }));
  const rights = lanes.map(() => new Map<string, Right>());
  const rightOf = (at: number, of: string): Right => rights[at]?.get(of) ?? 'allow';
  const subscriptions = new Subscriptions(undefined, {
    decide: (one, of) => {
      const held = rightOf(lanes.indexOf(one), of);
      return held === 'allow' || held === 'deny' ? held : 'by-event';
    },
    allows: (one, of, name) => may(rightOf(lanes.indexOf(one), of), name),
  });
  const writer = new BatchWriter({ endOfCallback: () => undefined, endOfTurn: () => undefined, after: () => undefined, now: () => 0 });
  // As a repeater has, or a lane whose turn it is.
  const own = lanes.map((one) => createRoute([one]));
  const wants = lanes.map(() => new Set<string>());
  const expected = lanes.map((): string[] => []);
  for (const [number, one] of steps.entries()) {
    switch (one.do) {
      case 'event': {
        const source = one.source === undefined ? undefined : lanes[one.source];
        const outbound: OutboundEvent = { bytes: Buffer.from(`${one.room}\n${number}`), roomEnd: one.room.length, tagEnd: one.room.length, fields: '', source, order: 0 };
        const route = subscriptions.route(one.room);
        writer.add(outbound, route.byEvent ? subscriptions.routeForEvent(one.room, one.name) : route);
        if (one.beside !== undefined) writer.add(outbound, own[one.beside] as (typeof own)[number]);
        for (const [at, list] of expected.entries()) {
          const hears = [...(wants[at] ?? [])].some((pattern) => matchesPattern(pattern, one.room)) && may(rightOf(at, one.room), one.name);
          if (at !== one.source && (hears || at === one.beside)) list.push(`${number}`);
        }
        break;
      }
      case 'add':
      case 'remove':
        subscriptions[one.do](one.pattern, lanes[one.lane] as Lane);
        wants[one.lane]?.[one.do === 'add' ? 'add' : 'delete'](one.pattern);
        break;
      case 'right':
        rights[one.lane]?.set(one.room, one.right);
        subscriptions.invalidate();
        break;
      case 'flush':
        writer.flush();
        break;
      default:
        one satisfies never;
    }
  }
  writer.flush();
  expect(sinks.map(bodiesOf)).toEqual(expected);
}

describe('a fan-out', () => {
  it('gives each lane what it wants and may have when the event came, once and in order, whatever shares its batch, for 3,000 histories', () => {
    fc.assert(fc.property(fc.array(step, { minLength: 20, maxLength: 80 }), run), { numRuns: 3_000 });
  });
});
