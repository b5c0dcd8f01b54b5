import type { ReceivedEvent } from '@carillon/messenger';
import { describe, expect, it } from 'vitest';

import { countedBody, readCounted } from './counted-event.ts';
import { readCurl } from './curl-command.ts';
import { Reception } from './reception.ts';

/** What the tests with real processes measure with must see what is wrong. */
const ROOM = 'TEST-1';

function received(body: string, room = ROOM): ReceivedEvent {
  return { room, body: Buffer.from(body), text: () => body, json: <T>() => JSON.parse(body) as T };
}

const event = (counter: number, publisher = 'p'): ReceivedEvent => received(countedBody(ROOM, { publisher, counter }));

describe('a reception', () => {
  it('finds nothing wrong with events in order', () => {
    const reception = new Reception();
    for (const counter of [1, 2, 3]) reception.take(event(counter));
    reception.take(event(1, 'other'));

    expect(reception).toMatchObject({ delivered: 4, duplicates: 0, reordered: 0, torn: 0 });
    expect([reception.last('p'), reception.missed('p'), reception.has('other', 1)]).toEqual([3, 0, true]);
  });

  it('tells repeats, steps back and gaps', () => {
    const reception = new Reception();
    for (const counter of [1, 2, 2, 6, 4]) reception.take(event(counter));

    expect(reception).toMatchObject({ duplicates: 1, reordered: 1, torn: 0 });
    expect(reception.missed('p')).toBe(3);
    reception.forgetMissed();
    expect(reception.missed('p')).toBe(0);
  });

  it('tells a torn frame, wherever it is torn, and one under the tag of another room', () => {
    const whole = countedBody(ROOM, { publisher: 'p', counter: 2 });
    for (let end = 0; end < whole.length; end += 1) expect(readCounted(received(whole.slice(0, end)))).toBeUndefined();
    expect(readCounted(received(whole.replace('xxx', 'xyx')))).toBeUndefined();
    expect(readCounted(received(whole, 'TEST-2'))).toBeUndefined();
    expect(readCounted(received(`\n${whole}`))).toEqual({ publisher: 'p', counter: 2 });
  });
});

describe('a printed curl command', () => {
  it('is read as the call it makes', () => {
    expect(readCurl(`  curl http://h:1/event -H 'content-type: application/json'  -d '{"a":"b c"}'`)).toEqual({
      url: 'http://h:1/event', method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":"b c"}',
    });
    expect(readCurl('curl -N http://h:1/rooms/A/events')).toEqual({ url: 'http://h:1/rooms/A/events', method: 'GET', headers: {}, body: undefined });
  });

  it('is refused when it has an option that is not known', () => {
    expect(() => readCurl('curl -k http://h:1/')).toThrow(/-k/);
  });
});
