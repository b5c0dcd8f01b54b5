import { describe, expect, it } from 'vitest';

import { coversGrant } from './grant-paths.ts';

describe('coversGrant', () => {
  it.each([
    // held, base, wanted, covered
    ['*', '', '*', true], ['*', '', '', true], ['*', '', 'a/*', true], ['*', 'team', '*', true],
    ['', '', '', true], ['', '', '*', false], ['', '', 'a', false], ['', 'team', '', false],
    ['team', 'team', '', true], ['team', 'team', '*', false], ['team', '', 'team', true], ['team', '', 'team/a', false], ['team', '', 'team/*', false],
    ['team/*', '', 'team/a', true], ['team/*', '', 'team/a/b', true], ['team/*', '', 'team/a/*', true], ['team/*', '', 'team/*', true],
    ['team/*', '', 'team', false], ['team/*', '', 'teams', false], ['team/*', '', '*', false], ['team/*', 'team', '*', false], ['team/*', 'team', '', false], ['team/*', 'team', 'a', true],
    ['team/*', 'team/a', '*', true], ['team/*', 'other', '*', false],
    ['/*', '', 'a', false], ['a*', '', 'ab', false],
  ])('%j held from above %j: %j → %j', (held, base, wanted, covered) => {
    expect(coversGrant([held], base, wanted)).toBe(covered);
  });

  it('asks for one path that covers all, and for one at all', () => {
    expect(coversGrant(['b', 'a/*'], '', 'a/x')).toBe(true);
    expect(coversGrant([], '', '')).toBe(false);
  });
});
