import { encodeFrame, parseFrame } from '@carillon/wire';
import { describe, expect, it } from 'vitest';
import { FrameEvent } from './received-event.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('a received event', () => {
  it('parses its JSON once, past the blank lines of original hubs', () => {
    const parsed = parseFrame(encodeFrame('ITB-1101', '\n\n{"key":"power"}\n'), 1);
    if (!parsed.ok) throw new Error(parsed.code);
    const event = new FrameEvent(parsed.room, parsed.body);
    expect(event.json()).toEqual({ key: 'power' });
    expect(event.json()).toBe(event.json());
    expect(event.text()).toBe('\n\n{"key":"power"}\n');
  });

  it.each([bytes('{'), bytes(''), new Uint8Array([0x22, 0xff, 0x22])])('refuses to parse %s with JSON_INVALID', (body) => {
    expect(() => new FrameEvent('A', body).json()).toThrow(expect.objectContaining({ code: 'JSON_INVALID' }));
  });

  it('says when its hub accepted it, and when it happened if somebody said so', () => {
    const { at, happenedAt } = new FrameEvent('A', bytes(''), { at: 2_000, et: 1_000 });
    expect([at, happenedAt, new FrameEvent('A', bytes(''), { at: 2_000 }).happenedAt]).toEqual([2_000, 1_000, undefined]);
  });

  it('shows bytes that are not UTF-8 as text all the same', () => {
    expect(new FrameEvent('A', new Uint8Array([0x61, 0xff])).text()).toBe('a\ufffd');
  });
});
