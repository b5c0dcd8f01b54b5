import { expect, test } from 'vitest';

import { InFlight } from './in-flight.ts';

/** Adds events until no more may be in flight; answers how many that were. */
function fill(flight: InFlight, from = 0): number {
  let count = 0;
  for (; !flight.isFull; count += 1) flight.add(`id-${from + count}`, from + count);
  return count;
}

test('4,096 may be in flight, and as many more as are answered', () => {
  const flight = new InFlight();
  expect([flight.firstKey, fill(flight), flight.firstKey]).toEqual([undefined, 4_096, 0]);
  expect([flight.answered(['id-0', 'id-7', 'stranger', 'id-0']), flight.firstKey, fill(flight, 5_000)]).toEqual([[0, 7], 1, 2]);
});

test('after one was refused for now it goes on with one, and one more for each that is taken', () => {
  const flight = new InFlight();
  fill(flight);
  flight.takeBack(2);
  expect([flight.size, flight.isFull, flight.keyOf('id-1'), flight.keyOf('id-2')]).toEqual([2, true, 1, undefined]);
  flight.answered(['id-0', 'id-1']);
  expect(fill(flight, 2)).toBe(3);
  flight.answered(['id-2', 'id-3', 'id-4']);
  expect(fill(flight, 5)).toBe(6);
});

test('a frame that makes the hub close is found', () => {
  const flight = new InFlight();
  for (let key = 1; key <= 3; key += 1) flight.add(`id-${key}`, key);
  expect(flight.lost(true)).toBeUndefined();
  expect(fill(flight, 1)).toBe(1);
  flight.answered(['id-1']);
  expect(fill(flight, 2)).toBe(1);
  expect(flight.lost(true)).toBe(2);
  expect(fill(flight, 3)).toBe(1);
  flight.answered(['id-3']);
  expect(fill(flight, 4)).toBe(4_096);
});

test('a link that is lost for another reason makes nothing suspicious', () => {
  const flight = new InFlight();
  flight.add('id-1', 1);
  expect([flight.lost(false), flight.size, fill(flight)]).toEqual([undefined, 0, 4_096]);
});

test('suspects that have gone some other way hold up nobody', () => {
  const flight = new InFlight();
  fill(flight);
  flight.lost(true);
  flight.clearSuspects();
  expect(fill(flight)).toBe(4_096);
});
