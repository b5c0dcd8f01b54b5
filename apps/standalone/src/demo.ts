import { connect, roomEvent, type Messenger } from '@carillon/messenger';

/**
 * A simulated building, plainly labelled: `generating-system` and every user say so. Each room has a display and a touch
 * panel behind the repeater, and a controller at the hub; somebody walks in now and then, presses a button, and what the
 * panel asks for the display answers.
 */
const ROOMS = ['DEMO-101', 'DEMO-102', 'DEMO-201', 'DEMO-202'];
const INPUTS = ['hdmi1', 'hdmi2', 'via', 'camera'];
const SYSTEM = 'simulated';
const USER = 'simulated person';
const PRESS_MEAN_MS = 4_000;
const HEARTBEAT_MS = 10_000;

export interface DemoOptions {
  readonly hubUrl: string;
  readonly repeaterUrl: string;
  readonly signal: AbortSignal;
  /** Number from 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
}

/** Starts the building; aborting the signal empties it. */
export function startDemo(options: DemoOptions): { stop(): Promise<void> } {
  const { signal } = options;
  const rooms = ROOMS.map((room) => startRoom(room, options));
  const stop = async (): Promise<void> => {
    signal.removeEventListener('abort', onAbort);
    await Promise.all(rooms.map((stopRoom) => stopRoom()));
  };
  // One listener for the building: one for each of its twelve messengers would make Node warn of a leak.
  const onAbort = (): void => void stop();
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  return { stop };
}

function startRoom(room: string, { hubUrl, repeaterUrl, random }: DemoOptions): () => Promise<void> {
  const device = (name: string): Messenger => connect(`${repeaterUrl}/connect/${room}/${room}-${name}`);
  const panel = device('TP1');
  const display = device('D1');
  const controller = connect(hubUrl);
  const timers = new Set<NodeJS.Timeout>();
  let stopped = false;
  const say = (from: Messenger, name: string, key: string, value: string, tags: readonly string[]): void => {
    const event = roomEvent({ room, device: `${room}-${name}`, key, value, tags, user: USER, system: SYSTEM });
    from.publish(event).catch(() => undefined); // a demo has nobody to tell; the page shows what arrives
  };
  const press = (): void => {
    const input = INPUTS[Math.floor(random() * INPUTS.length)] ?? 'hdmi1';
    say(panel, 'TP1', 'button', input, ['ui-event', 'user-generated']);
    schedule(press, PRESS_MEAN_MS * (0.5 + random()));
  };
  const beat = (): void => {
    say(display, 'D1', 'responsive', 'Ok', ['heartbeat']);
    schedule(beat, HEARTBEAT_MS);
  };
  const schedule = (run: () => void, afterMs: number): void => {
    if (stopped) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      run();
    }, afterMs);
    timers.add(timer);
  };
  controller.subscribe<{ key?: string; value?: string }>(room, (event) => {
    const { key, value } = event.json();
    if (key === 'button') say(controller, 'D1', 'input', value ?? '', ['core-state']);
  });
  schedule(press, PRESS_MEAN_MS * random());
  schedule(beat, HEARTBEAT_MS * random());
  return async () => {
    stopped = true;
    for (const timer of timers) clearTimeout(timer);
    await Promise.all([panel.close(), display.close(), controller.close()]);
  };
}
