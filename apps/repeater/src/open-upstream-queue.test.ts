import { expect, test } from 'vitest';

import { eventKeyOf } from './open-upstream-queue.ts';

const keyOf = (body: string) => eventKeyOf({ id: 'a', frame: Buffer.from(`R\n${body}`), tagEnd: 1, recordedAtMs: 0 });

test('an event is the latest of its key and of the device that it is about', () => {
  const power = keyOf('{"key":"power","value":"on"}');
  expect(power).toBe(keyOf('\n {"value":"off","key":"power"}'));
  const [first, second] = ['D1', 'D2'].map((deviceID) => keyOf(JSON.stringify({ key: 'power', 'target-device': { deviceID } })));
  expect(new Set([power, first, second, keyOf('{"key":"input"}')]).size).toBe(4);
});

test.each(['', '{', '[]', 'null', '7', '{}', '{"key":7}'])('an event that says no key (%s) is kept for itself', (body) => expect(keyOf(body)).toBeUndefined());
