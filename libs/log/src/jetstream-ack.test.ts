import { describe, expect, it } from 'vitest';

import { outcomeOf } from './jetstream-ack.ts';

const outcome = (answer: string) => outcomeOf({ data: new TextEncoder().encode(answer), string: () => answer } as Parameters<typeof outcomeOf>[0]);

describe('the answer to a publish', () => {
  it('tells the place of what was stored now or before', () => {
    expect(outcome('{"stream":"CARILLON","seq":7}')).toEqual({ kind: 'stored', seq: 7 });
    expect(outcome('{"stream":"CARILLON","seq":7,"domain":"hub"}')).toEqual({ kind: 'stored', seq: 7 });
    expect(outcome('{"stream":"CARILLON","seq":7,"duplicate": true}')).toEqual({ kind: 'known', seq: 7 });
  });

  it('has no place yet for an id that is just being stored, in the words of old servers and new ones', () => {
    const reason = expect.any(String) as string;
    expect(outcome('{"stream":"CARILLON","seq":0,"duplicate": true}')).toEqual({ kind: 'failed', isBusy: true, reason });
    for (const code of [10_158, 10_201]) expect(outcome(`{"stream":"CARILLON","seq":0,"error":{"code":400,"err_code":${code},"description":"in process"}}`)).toEqual({ kind: 'failed', isBusy: true, reason });
  });

  it('fails for now when it cannot be read, or says that too much is under way', () => {
    for (const answer of ['', '{', '{"stream":"CARILLON"}', '{"error":{"code":503,"err_code":10008,"description":"not available"}}']) expect(outcome(answer)).toMatchObject({ kind: 'failed' });
    expect(outcomeOf(undefined)).toMatchObject({ kind: 'failed' });
  });
});
