import { DEFAULT_LIMITS, parseSubscriptionChange } from '@carillon/wire';
import { describe, expect, it } from 'vitest';
import { Interest } from './interest.ts';

const create = (...rooms: string[]): string => JSON.stringify({ rooms, create: true });
const drop = (...rooms: string[]): string => JSON.stringify({ rooms, create: false });

describe('what the hub is told', () => {
  it('is the union of all subscriptions, each pattern once', () => {
    const interest = new Interest();
    interest.add(['A', 'B']);
    interest.add(['B', 'C-*']);
    expect(interest.changes()).toEqual([create('A', 'B', 'C-*')]);
    expect(interest.changes()).toEqual([]);
    expect(interest.patterns).toEqual(['A', 'B', 'C-*']);
  });

  it('drops a pattern with the last subscription that wants it', () => {
    const interest = new Interest();
    interest.add(['A']);
    interest.add(['A']);
    interest.changes();
    interest.release(['A']);
    expect(interest.changes()).toEqual([]);
    interest.release(['A']);
    expect(interest.changes()).toEqual([drop('A')]);
  });

  it('is nothing when a change was taken back', () => {
    const interest = new Interest();
    interest.add(['A']);
    interest.release(['A']);
    expect(interest.changes()).toEqual([]);
  });

  it('is everything once more after a reconnect', () => {
    const interest = new Interest();
    interest.add(['A', 'B']);
    interest.changes();
    interest.release(['B']);
    interest.forget();
    expect(interest.changes()).toEqual([create('A')]);
  });

  it('is only * while all rooms are wanted, so that an original hub sends nothing twice', () => {
    const interest = new Interest();
    interest.add(['A']);
    interest.changes();
    interest.add(['**']);
    expect(interest.changes()).toEqual([create('*'), drop('A')]);
    interest.add(['B']);
    expect(interest.changes()).toEqual([]);
    interest.forget();
    expect(interest.changes()).toEqual([create('*')]);
    interest.release(['**']);
    expect(interest.changes()).toEqual([create('A', 'B'), drop('*')]);
  });

  it('is every other pattern once * is denied, until the next connection', () => {
    const interest = new Interest();
    interest.add(['A', '*']);
    expect(interest.changes()).toEqual([create('*')]);
    expect(interest.denied()).toBe(true);
    expect(interest.changes()).toEqual([create('A')]);
    interest.add(['B']);
    expect(interest.changes()).toEqual([create('B')]);
    expect(interest.denied()).toBe(false);
    interest.forget();
    expect(interest.changes()).toEqual([create('*')]);
  });

  it('is nothing where the hub is asked in another way, until the next connection', () => {
    const interest = new Interest();
    interest.add(['A']);
    interest.skip();
    expect([interest.isPending, interest.changes()]).toEqual([false, []]);
    interest.forget();
    expect(interest.changes()).toEqual([create('A')]);
  });

  it('adds before it drops', () => {
    const interest = new Interest();
    interest.add(['A']);
    interest.changes();
    interest.release(['A']);
    interest.add(['B']);
    expect(interest.changes()).toEqual([create('B'), drop('A')]);
  });

  it('fits the control frames of the hub, and refuses more patterns than it takes', () => {
    const interest = new Interest();
    const rooms = Array.from({ length: DEFAULT_LIMITS.patternsMax }, (_, index) => `ITB-${index}-${'é"'.repeat(20)}`);
    interest.add(rooms);
    const texts = interest.changes();
    expect(texts.length).toBeGreaterThan(1);
    const told = texts.flatMap((text) => {
      expect(new TextEncoder().encode(text).length).toBeLessThanOrEqual(DEFAULT_LIMITS.controlMaxBytes);
      const parsed = parseSubscriptionChange(text);
      return parsed.ok ? parsed.change.rooms : [parsed.code];
    });
    expect(told).toEqual(rooms);
    expect(() => interest.add(['one more'])).toThrow(expect.objectContaining({ code: 'SUBSCRIPTIONS_EXCEEDED' }));
    expect(interest.patterns).toHaveLength(DEFAULT_LIMITS.patternsMax);
  });
});
