import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { SubjectRoutes } from './subject-routes.ts';

const token = fc.constantFrom('a', 'b', 'c');
const subject = fc.array(token, { minLength: 1, maxLength: 4 }).map((tokens) => tokens.join('.'));
const pattern = fc
  .tuple(fc.array(fc.oneof(token, fc.constant('*')), { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([tokens, rest]) => [...tokens, ...(rest ? ['>'] : [])].join('.'));

const asRegExp = (text: string): RegExp => new RegExp(`^${text.replaceAll('.', '\\.').replaceAll('*', '[^.]+').replace('>', '.+')}$`);

describe('SubjectRoutes', () => {
  it('matches as the pattern written as a regular expression does', () => {
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 8 }), subject, (patterns, published) => {
        const routes = new SubjectRoutes<{ readonly pattern: string; readonly queue?: string }>();
        for (const one of patterns) routes.add(one, { pattern: one });
        const matched = routes.match(published, () => true).map((route) => route.pattern);

        expect(matched.sort()).toEqual(patterns.filter((one) => asRegExp(one).test(published)).sort());
      }),
    );
  });

  it('forgets what was removed', () => {
    const routes = new SubjectRoutes<{ readonly queue?: string }>();
    const added = ['a', 'a', '*', '>'].map((one) => ({ one, route: {} }));
    for (const { one, route } of added) routes.add(one, route);
    expect(routes.match('a', () => true)).toHaveLength(4);
    for (const { one, route } of added) routes.remove(one, route);

    expect(routes.match('a', () => true)).toEqual([]);
  });

  it('takes the members of a queue in turn', () => {
    const routes = new SubjectRoutes<{ readonly queue?: string; readonly name: string }>();
    for (const name of ['x', 'y', 'z']) routes.add('a', { queue: 'q', name });
    const chosen = Array.from({ length: 6 }, () => routes.match('a', () => true).map((route) => route.name));

    expect(chosen.every((names) => names.length === 1)).toBe(true);
    expect(new Set(chosen.flat()).size).toBe(3);
  });
});
