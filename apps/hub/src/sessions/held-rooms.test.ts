import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { HeldRooms } from './held-rooms.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const of = (room: string, id: string) => ({ room, id });

describe('rooms that are held', () => {
  it('hold what comes behind a refused event in its room, until one that was refused comes again', () => {
    const held = new HeldRooms(10);
    held.hold(of('A', '1'), 'LOG_UNAVAILABLE');
    expect(held.refusalOf(of('A', '2'))).toBe('LOG_UNAVAILABLE');
    held.hold(of('A', '2'), 'LOG_UNAVAILABLE');
    expect(held.refusalOf(of('B', '3'))).toBeUndefined();
    expect(held.refusalOf(of('A', '2'))).toBeUndefined();
    expect(held.refusalOf(of('A', '4'))).toBeUndefined();
  });

  it('say why the first was refused, room by room', () => {
    const held = new HeldRooms(10);
    held.hold(of('A', '1'), 'LOG_BACKLOGGED');
    held.hold(of('A', '2'), 'LOG_UNAVAILABLE');
    held.hold(of('B', '3'), 'LOG_UNAVAILABLE');
    expect([held.refusalOf(of('A', '9')), held.refusalOf(of('B', '9'))]).toEqual(['LOG_BACKLOGGED', 'LOG_UNAVAILABLE']);
    expect(held.refusalOf(of('A', '1'))).toBeUndefined();
    expect(held.refusalOf(of('B', '9'))).toBe('LOG_UNAVAILABLE');
  });

  it('let go of who has given up', () => {
    const held = new HeldRooms(10);
    held.hold(of('A', '1'), 'LOG_UNAVAILABLE');
    vi.advanceTimersByTime(60_000);
    expect(held.refusalOf(of('A', '2'))).toBe('LOG_UNAVAILABLE');
    vi.advanceTimersByTime(1);
    expect(held.refusalOf(of('A', '2'))).toBeUndefined();
  });

  it('keep no more ids than their bound, over all rooms, and have the room for others when they come again', () => {
    const held = new HeldRooms(2);
    held.hold(of('A', '1'), 'LOG_UNAVAILABLE');
    held.hold(of('A', '1'), 'LOG_UNAVAILABLE');
    held.hold(of('A', '2'), 'LOG_UNAVAILABLE');
    held.hold(of('A', '3'), 'LOG_UNAVAILABLE');
    held.hold(of('B', '4'), 'LOG_UNAVAILABLE');
    expect([held.refusalOf(of('A', '3')), held.refusalOf(of('B', '5'))]).toEqual(['LOG_UNAVAILABLE', undefined]);
    expect(held.refusalOf(of('A', '1'))).toBeUndefined();
    held.hold(of('B', '4'), 'LOG_UNAVAILABLE');
    expect(held.refusalOf(of('B', '5'))).toBe('LOG_UNAVAILABLE');
  });
});
