import { describe, expect, it } from 'vitest';

import { TailAudit } from './jetstream-tail-audit.ts';

const given = (audit: TailAudit, ...seqs: number[]): void => {
  for (const seq of seqs) audit.gave(seq);
};

describe('the audit of a tail', () => {
  it('counts what was given of a window, whatever came behind it already', () => {
    const audit = new TailAudit();
    audit.begin(10);
    given(audit, 11, 13, 20, 12);

    expect(audit.countTo(13)).toBe(3);
    expect(audit.countTo(30)).toBe(4);
    audit.begin(13);
    expect([audit.after, audit.countTo(30)]).toEqual([13, 1]);
    audit.begin(0);
    expect(audit.countTo(30)).toBe(1);
  });

  it('does not count a window that is too large, and counts the next one', () => {
    const audit = new TailAudit();
    for (let seq = 1; seq <= 60_000; seq += 1) audit.gave(seq);
    expect(audit.countTo(60_000)).toBeUndefined();
    audit.begin(60_000);
    given(audit, 60_001);

    expect(audit.countTo(60_001)).toBe(1);
  });
});
