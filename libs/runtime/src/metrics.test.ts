import { describe, expect, it } from 'vitest';

import { Metrics, Tally, type MetricDefinition } from './index.ts';

const events: MetricDefinition = { name: 'carillon_hub_events_received_total', kind: 'counter', help: 'Events received.' };
const lanes: MetricDefinition = { name: 'carillon_hub_lane_bytes', kind: 'gauge', help: 'Bytes in lanes.', labels: ['peer', 'lane'] };

function failOnReadError(definition: MetricDefinition, error: unknown): never {
  throw new Error(`${definition.name} could not be read`, { cause: error });
}

describe('Metrics', () => {
  it('shows exactly the names given, with HELP and TYPE, and nothing else', () => {
    const metrics = new Metrics(failOnReadError);
    let received = 3;
    metrics.observe(events, () => received);
    metrics.observe(lanes, () => [{ value: 1.5, labels: { peer: 'a "b"\\\n', lane: 'live' } }, { value: 0, labels: { peer: 'c', lane: 'durable' } }]);
    received = 4;
    expect(metrics.render().trim().split('\n').filter((line) => line !== '')).toEqual([
      '# HELP carillon_hub_events_received_total Events received.',
      '# TYPE carillon_hub_events_received_total counter',
      'carillon_hub_events_received_total 4',
      '# HELP carillon_hub_lane_bytes Bytes in lanes.',
      '# TYPE carillon_hub_lane_bytes gauge',
      'carillon_hub_lane_bytes{peer="a \\"b\\"\\\\\\n",lane="live"} 1.5',
      'carillon_hub_lane_bytes{peer="c",lane="durable"} 0',
    ]);
  });

  it('forgets the labels that are gone', () => {
    const metrics = new Metrics(failOnReadError);
    let peers = ['a', 'b'];
    metrics.observe(lanes, () => peers.map((peer) => ({ value: 1, labels: { peer } })));
    metrics.render();
    peers = ['c'];
    expect(metrics.render()).not.toContain('peer="a"');
    expect(metrics.render()).toContain('peer="c"');
  });

  it('shows a metric that has no samples yet', () => {
    const metrics = new Metrics(failOnReadError);
    metrics.observe(lanes, () => []);
    expect(metrics.render()).toContain('# TYPE carillon_hub_lane_bytes gauge');
  });

  it('renders nothing when nothing is observed', () => {
    expect(new Metrics(failOnReadError).render()).toBe('');
  });

  it.each([
    [() => { throw new Error('gone'); }, 'gone'],
    [() => [{ value: 1, labels: { room: 'a' } }], 'undeclared label room'],
  ])('leaves out a metric that cannot be read and says so', (read, message) => {
    const failures: string[] = [];
    const metrics = new Metrics((definition, error) => failures.push(`${definition.name}: ${String(error)}`));
    metrics.observe(lanes, read);
    metrics.observe(events, () => 1);
    expect(metrics.render()).not.toContain('lane_bytes');
    expect(metrics.render()).toContain('carillon_hub_events_received_total 1');
    expect(failures[0]).toContain(`carillon_hub_lane_bytes: Error: `);
    expect(failures[0]).toContain(message);
  });

  it.each([
    [{ ...events, name: 'carillon_hub_events' }, 'must end with _total'],
    [{ ...lanes, name: 'carillon_lanes_total' }, 'must not end with _total'],
    [{ ...lanes, name: 'carillon__lanes' }, 'lower-case words'],
    [{ ...lanes, name: 'carillon.lanes' }, 'lower-case words'],
    [{ ...lanes, name: '7_lanes' }, 'lower-case words'],
    [{ ...lanes, labels: ['close-code'] }, 'label "close-code"'],
  ])('refuses a name that would be shown changed (%#)', (definition, reason) => {
    expect(() => new Metrics(failOnReadError).observe(definition, () => 1)).toThrow(reason);
  });

  it('refuses a name twice and lists its definitions', () => {
    const metrics = new Metrics(failOnReadError);
    metrics.observe(events, () => 1);
    expect(() => metrics.observe(events, () => 2)).toThrow('already observed');
    expect(metrics.definitions()).toEqual([events]);
  });
});

describe('Tally', () => {
  it('counts by key and shows the counts as samples', () => {
    const tally = new Tally();
    tally.add('slow');
    tally.add('slow', 2);
    tally.add('denied');
    expect(tally.get('slow')).toBe(3);
    expect(tally.get('never')).toBe(0);
    expect(tally.entries()).toEqual([['slow', 3], ['denied', 1]]);
    expect(tally.samples('reason')).toEqual([{ value: 3, labels: { reason: 'slow' } }, { value: 1, labels: { reason: 'denied' } }]);
  });

  it('counts the keys beyond 256 together, and loses none', () => {
    const tally = new Tally();
    for (let key = 0; key < 1_000; key += 1) tally.add(`key-${key}`);
    tally.add('key-0');
    expect(tally.entries()).toHaveLength(257);
    expect(tally.get('other')).toBe(744);
    expect(tally.get('key-0')).toBe(2);
    expect(tally.get('key-999')).toBe(0);
  });
});
