import { connect, type ReceivedEvent } from '@carillon/messenger';
import { eventually, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { startDemo } from './demo.ts';
import { startTestStandalone, stopStandalones, type TestStandalone } from './standalone.fixture.ts';

let released: () => Promise<void>;
const warnings: string[] = [];
const onWarning = (warning: Error): void => void warnings.push(warning.message);

beforeEach(() => {
  released = trackResources();
  process.on('warning', onWarning);
});
afterEach(async () => {
  await stopStandalones();
  await released();
  process.off('warning', onWarning);
  expect(warnings.splice(0)).toEqual([]);
});

interface DemoEvent {
  readonly 'generating-system': string;
  readonly key: string;
  readonly value: string;
  readonly user: string;
}

const hubUrlOf = ({ url }: TestStandalone): string => url.replace('http', 'ws');

describe('the simulated building', () => {
  it('goes from device to repeater to hub, and every event says that it is simulated', async () => {
    const standalone = await startTestStandalone({ demo: true });
    const listener = connect(hubUrlOf(standalone));
    const events: ReceivedEvent<DemoEvent>[] = [];
    listener.subscribe<DemoEvent>('DEMO-*', (event) => events.push(event));
    await eventually(() => expect(new Set(events.map((event) => event.json().key))).toEqual(new Set(['button', 'input', 'responsive'])), { timeoutMs: 15_000 });
    for (const event of events) expect(event.json()).toMatchObject({ 'generating-system': 'simulated', user: 'simulated person' });
    const metrics = await standalone.metrics();
    for (const sample of [/^carillon_repeater_received_frames_total\{source="device"\} [1-9]/m, /^carillon_hub_events_received_total\{source="repeater"\} [1-9]/m, /^carillon_hub_events_received_total\{source="messenger"\} [1-9]/m]) {
      expect(metrics).toMatch(sample);
    }
    await listener.close();
  });

  it('answers what a panel asks for', async () => {
    const standalone = await startTestStandalone();
    const listener = connect(hubUrlOf(standalone));
    const said: string[] = [];
    listener.subscribe<DemoEvent>('DEMO-101', (event) => {
      const { key, value } = event.json();
      if (key !== 'responsive') said.push(`${key} ${value}`);
    });
    await listener.ready();
    // With the least random numbers everybody presses at once, and then every two seconds.
    const demo = startDemo({ hubUrl: hubUrlOf(standalone), repeaterUrl: standalone.repeaterUrl, signal: new AbortController().signal, random: () => 0 });
    await eventually(() => expect(said.slice(-2)).toEqual(['button hdmi1', 'input hdmi1']));
    await demo.stop();
    await demo.stop();
    await listener.close();
  });

  it.each(['stop', 'abort'])('is empty after %s: nobody is connected and nothing runs', async (how) => {
    const standalone = await startTestStandalone();
    const ended = new AbortController();
    const connected = async (): Promise<string[]> => ((await standalone.metrics()).match(/^carillon_(?:hub_connections\{kind="messenger"\}|repeater_devices) \d+/gm) ?? []).map((line) => line.split(' ')[1] ?? '');
    const demo = startDemo({ hubUrl: hubUrlOf(standalone), repeaterUrl: standalone.repeaterUrl, signal: ended.signal, random: () => 0.5 });
    await eventually(async () => expect(await connected()).toEqual(['4', '8']));
    if (how === 'stop') await demo.stop();
    else ended.abort();
    await eventually(async () => expect(await connected()).toEqual(['0', '0']));
  });

  it('never begins when it is told to end before', async () => {
    const standalone = await startTestStandalone();
    const demo = startDemo({ hubUrl: hubUrlOf(standalone), repeaterUrl: standalone.repeaterUrl, signal: AbortSignal.abort(), random: () => 0 });
    await demo.stop();
    expect(await standalone.metrics()).toMatch(/^carillon_repeater_received_frames_total\{source="device"\} 0$|^# TYPE carillon_repeater_received_frames_total counter\n(?!carillon_repeater_received_frames_total)/m);
  });
});
