import { eventually, startNatsServer } from '@carillon/testing';

import { valuesOf, type Receiver } from './received.ts';
import { eventJson, post, untilHeard, type HubProgram, type Stage } from './stage.ts';

/** What must work between the originals and ours. A check throws what is wrong, or gives back what is worth knowing. */
export interface Check {
  readonly name: string;
  readonly run: (stage: Stage) => Promise<string | undefined>;
}

const ROOM = 'ITB-1101';
const COUNT = 50;
const ALL = Array.from({ length: COUNT }, (_, index) => `${index}`);

/** It dials `host:7100/connect/hub` without a scheme (specs: room events, hub). */
const KNOWN_FAULT = /malformed ws or wss URL|first path segment in URL cannot contain colon/;

type Send = (json: string) => Promise<void>;

const at = (hub: HubProgram): Send => (json) => post(hub.port, '/event', json);

/** Every receiver must have a whole batch, in order, each event once; `settle` is a way that passes all of them. */
async function gotAll(receivers: readonly Receiver[], key: string, settle: Send): Promise<string | undefined> {
  await eventually(() => {
    const short = receivers.filter((receiver) => valuesOf(receiver, key).length < COUNT);
    if (short.length > 0) throw new Error(short.map((receiver) => `${receiver.name} has ${valuesOf(receiver, key).length} of ${COUNT}`).join(', '));
  }, { timeoutMs: 15_000, what: `the batch ${key}` });
  await untilHeard(settle, ROOM, receivers);
  for (const receiver of receivers) {
    const values = valuesOf(receiver, key);
    if (values.join() !== ALL.join()) throw new Error(`${receiver.name} got ${values.length} events instead of ${COUNT}, or out of order: ${values.join()}`);
  }
  const blankLines = receivers.flatMap((receiver) => receiver.events().filter((event) => event.key === key).map((event) => event.blankLines ?? 0));
  return `${COUNT} events to ${receivers.map(({ name }) => name).join(', ')}; blank lines before the JSON: at most ${Math.max(...blankLines)}`;
}

async function sendAll(send: Send, key: string): Promise<void> {
  for (const value of ALL) await send(eventJson(ROOM, key, value));
}

/** Our messenger as a sender of bodies. */
const from = (stage: Stage, url: string): Send => {
  const { messenger } = stage.ourMessenger('our sender', url);
  return async (json) => {
    await messenger.send(ROOM, json);
  };
};

/** Everybody of a pair of hubs hears what is sent at either, by messengers of both makes. */
async function carryBothWays(stage: Stage, left: HubProgram, right: HubProgram): Promise<string> {
  const sides = await Promise.all([{ hub: left, name: 'left' }, { hub: right, name: 'right' }].map(async ({ hub, name }) => ({
    hub,
    receivers: [stage.ourMessenger(`our messenger (${name})`, hub.url, [ROOM]), await stage.originalMessenger(`original messenger (${name})`, hub, [ROOM])],
  })));
  const everybody = sides.flatMap(({ receivers }) => receivers);
  const notes: (string | undefined)[] = [];
  for (const { hub } of sides) {
    await untilHeard(at(hub), ROOM, everybody);
    await sendAll(from(stage, hub.url), `from-${hub.port}`);
    notes.push(await gotAll(everybody, `from-${hub.port}`, at(hub)));
  }
  return notes.join(' | ');
}

async function linkFromOurs(ours: HubProgram, original: HubProgram): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${ours.port}/interconnect/${encodeURIComponent(original.url)}`, { method: 'POST' });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`POST /interconnect was answered with ${response.status} ${text}`);
}

/** A device behind a repeater, up to a listener at a hub, by socket and by POST /send. */
async function devicesGoUp(stage: Stage, repeater: { readonly url: string; readonly port: number }, listeners: readonly Receiver[]): Promise<string | undefined> {
  const device = from(stage, `${repeater.url}/connect/${ROOM}/${ROOM}-D1`);
  await untilHeard(device, ROOM, listeners);
  await sendAll(device, 'up');
  const note = await gotAll(listeners, 'up', device);
  await untilHeard((json) => post(repeater.port, '/send', json), ROOM, listeners);
  return note;
}

export const CHECKS: readonly Check[] = [
  {
    name: 'original messenger sends to our hub; messengers of both makes receive',
    run: async (stage) => {
      const hub = await stage.ourHub();
      const receivers = [stage.ourMessenger('our messenger', hub.url, [ROOM]), await stage.originalMessenger('original messenger', hub, [ROOM])];
      await untilHeard(at(hub), ROOM, receivers);
      await stage.originalSender(hub, ROOM, COUNT);
      return gotAll(receivers, 'n', at(hub));
    },
  },
  {
    name: 'our messenger sends to our hub; the original messenger receives its rooms and no others',
    run: async (stage) => {
      const hub = await stage.ourHub();
      const receiver = await stage.originalMessenger('original messenger', hub, [ROOM, 'ITB-1102']);
      await untilHeard(at(hub), ROOM, [receiver]);
      await post(hub.port, '/event', eventJson('ITB-9999', 'foreign', '1'));
      await sendAll(from(stage, hub.url), 'ours');
      const note = await gotAll([receiver], 'ours', at(hub));
      if (valuesOf(receiver, 'foreign').length > 0) throw new Error('it got an event of a room it did not ask for');
      return note;
    },
  },
  ...(['kill', 'stop'] as const).map((end): Check => ({
    name: `the original messenger comes back after our hub was restarted (${end === 'kill' ? 'kill -9' : 'SIGTERM'})`,
    run: async (stage) => {
      const hub = await stage.ourHub();
      const receiver = await stage.originalMessenger('original messenger', hub, [ROOM]);
      await untilHeard(at(hub), ROOM, [receiver]);
      await hub[end]();
      await hub.start();
      await untilHeard(at(hub), ROOM, [receiver]);
      await sendAll(from(stage, hub.url), 'again');
      return gotAll([receiver], 'again', at(hub));
    },
  })),
  {
    name: 'our messenger and the original messenger talk through the original hub',
    run: async (stage) => {
      const hub = await stage.originalHub();
      const receivers = [stage.ourMessenger('our messenger', hub.url, [ROOM]), await stage.originalMessenger('original messenger', hub, [ROOM])];
      await untilHeard(at(hub), ROOM, receivers);
      await sendAll(from(stage, hub.url), 'ours');
      const first = await gotAll(receivers, 'ours', at(hub));
      await stage.originalSender(hub, ROOM, COUNT);
      return `${first} | ${await gotAll(receivers, 'n', at(hub))}`;
    },
  },
  {
    name: 'our messenger comes back after the original hub was killed and restarted',
    run: async (stage) => {
      const hub = await stage.originalHub();
      const receiver = stage.ourMessenger('our messenger', hub.url, [ROOM]);
      await untilHeard(at(hub), ROOM, [receiver]);
      await hub.kill();
      await hub.start();
      await untilHeard(at(hub), ROOM, [receiver]);
      await sendAll(from(stage, hub.url), 'again');
      return gotAll([receiver], 'again', at(hub));
    },
  },
  {
    name: 'our hub links to the original hub by POST /interconnect; events go both ways, once',
    run: async (stage) => {
      const [ours, original] = [await stage.ourHub(), await stage.originalHub()];
      await linkFromOurs(ours, original);
      return carryBothWays(stage, ours, original);
    },
  },
  {
    name: 'our link comes back after the original hub was killed and restarted',
    run: async (stage) => {
      const [ours, original] = [await stage.ourHub(), await stage.originalHub()];
      await linkFromOurs(ours, original);
      await original.kill();
      await original.start();
      return carryBothWays(stage, ours, original);
    },
  },
  {
    name: 'the original hub links to our hub by its own retrying link; events go both ways, once',
    run: async (stage) => {
      const ours = await stage.ourHub();
      const original = await stage.originalHub([ours.url]);
      return carryBothWays(stage, ours, original);
    },
  },
  {
    name: 'the original hub\'s link comes back after our hub was killed and restarted',
    run: async (stage) => {
      const ours = await stage.ourHub();
      const original = await stage.originalHub([ours.url]);
      await untilLinked(stage, ours, original);
      await ours.kill();
      await ours.start();
      return carryBothWays(stage, ours, original);
    },
  },
  {
    name: 'two of our hubs are a cluster and both link to the original hub; every event arrives once, also when one was killed',
    run: async (stage) => {
      const { url } = await startNatsServer({ jetstream: true });
      const [left, right, original] = [await stage.ourHub(url), await stage.ourHub(url), await stage.originalHub()];
      await linkFromOurs(left, original);
      await linkFromOurs(right, original);
      const notes = [await carryBothWays(stage, left, original), await carryBothWays(stage, right, original)];
      await left.kill();
      return [...notes, await carryBothWays(stage, right, original)].join(' | ');
    },
  },
  {
    name: 'the original hub\'s own POST /interconnect works, or fails by its known fault and by no other',
    run: async (stage) => {
      const original = await stage.originalHub();
      const response = await fetch(`http://127.0.0.1:${original.port}/interconnect/localhost`, { method: 'POST' });
      const text = await response.text();
      // It appends its own port, so a build without the fault is asked to link with whatever is at 7100.
      if (response.status === 200) return 'the original linked with the hub at port 7100';
      if (response.status === 500 && KNOWN_FAULT.test(text)) return `the original cannot: ${response.status} ${text.trim()}`;
      throw new Error(`${response.status} ${text}`);
    },
  },
  {
    name: 'original repeater on our hub: devices go up, an HTTP target gets what comes down',
    run: async (stage) => {
      const hub = await stage.ourHub();
      const target = await stage.httpTarget('HTTP target');
      const repeater = await stage.originalRepeater(`${ROOM}-CP1`, { hub, targets: [target.url] });
      const listeners = [stage.ourMessenger('our messenger', hub.url, [ROOM]), await stage.originalMessenger('original messenger', hub, [ROOM])];
      const up = await devicesGoUp(stage, repeater, listeners);
      await untilHeard(from(stage, hub.url), ROOM, [target]);
      await sendAll(from(stage, hub.url), 'down');
      return `${up} | ${await gotAll([target], 'down', at(hub))}`;
    },
  },
  {
    name: 'original repeater comes back after our hub was killed and restarted',
    run: async (stage) => {
      const hub = await stage.ourHub();
      const repeater = await stage.originalRepeater(`${ROOM}-CP1`, { hub });
      const listener = stage.ourMessenger('our messenger', hub.url, [ROOM]);
      await untilHeard((json) => post(repeater.port, '/send', json), ROOM, [listener]);
      await hub.kill();
      await hub.start();
      return devicesGoUp(stage, repeater, [listener]);
    },
  },
  {
    name: 'our repeater on the original hub: devices go up, an HTTP target gets what comes down',
    run: async (stage) => {
      const hub = await stage.originalHub();
      const target = await stage.httpTarget('HTTP target');
      const repeater = await stage.ourRepeater(`${ROOM}-CP1`, { hub, targets: [target.url] });
      const listeners = [stage.ourMessenger('our messenger', hub.url, [ROOM]), await stage.originalMessenger('original messenger', hub, [ROOM])];
      const up = await devicesGoUp(stage, repeater, listeners);
      const send = from(stage, hub.url);
      await untilHeard(send, ROOM, [target]);
      await sendAll(send, 'down');
      return `${up} | ${await gotAll([target], 'down', at(hub))}`;
    },
  },
  {
    name: 'our repeater comes back after the original hub was killed and restarted',
    run: async (stage) => {
      const hub = await stage.originalHub();
      const repeater = await stage.ourRepeater(`${ROOM}-CP1`, { hub });
      const listener = stage.ourMessenger('our messenger', hub.url, [ROOM]);
      await untilHeard((json) => post(repeater.port, '/send', json), ROOM, [listener]);
      await hub.kill();
      await hub.start();
      return devicesGoUp(stage, repeater, [listener]);
    },
  },
  {
    name: 'an original repeater is a target of our repeater: our hub to the original hub',
    run: async (stage) => {
      const [ours, original] = [await stage.ourHub(), await stage.originalHub()];
      const central = await stage.originalRepeater('CENTRAL-1-CP1', { hub: original });
      await stage.ourRepeater(`${ROOM}-CP1`, { hub: ours, targets: [central.url] });
      return throughRepeaters(stage, ours, original);
    },
  },
  {
    name: 'our repeater is a target of an original repeater: the original hub to our hub',
    run: async (stage) => {
      const [ours, original] = [await stage.ourHub(), await stage.originalHub()];
      const central = await stage.ourRepeater('CENTRAL-1-CP1', { hub: ours });
      await stage.originalRepeater(`${ROOM}-CP1`, { hub: original, targets: [central.url] });
      return throughRepeaters(stage, original, ours);
    },
  },
  {
    name: 'mixed: the original messenger on our hub, linked with an original hub with messengers of both makes',
    run: async (stage) => {
      const [ours, original] = [await stage.ourHub(), await stage.originalHub()];
      await linkFromOurs(ours, original);
      const receivers = [
        await stage.originalMessenger('original messenger at our hub', ours, [ROOM]),
        await stage.originalMessenger('original messenger at the original hub', original, [ROOM]),
        stage.ourMessenger('our messenger at the original hub', original.url, [ROOM]),
      ];
      await untilHeard(at(ours), ROOM, receivers);
      await untilHeard(at(original), ROOM, receivers);
      await stage.originalSender(original, ROOM, COUNT);
      return gotAll(receivers, 'n', at(ours));
    },
  },
];

async function untilLinked(stage: Stage, left: HubProgram, right: HubProgram): Promise<void> {
  await untilHeard(at(left), ROOM, [stage.ourMessenger('our messenger', right.url, [ROOM])]);
}

/** Events published at one hub come out at another that only repeaters join. */
async function throughRepeaters(stage: Stage, source: HubProgram, destination: HubProgram): Promise<string | undefined> {
  const receivers = [stage.ourMessenger('our messenger', destination.url, [ROOM]), await stage.originalMessenger('original messenger', destination, [ROOM])];
  const send = from(stage, source.url);
  await untilHeard(send, ROOM, receivers);
  await sendAll(send, 'across');
  return gotAll(receivers, 'across', send);
}
