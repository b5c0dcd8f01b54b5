import { readFileSync } from 'node:fs';
import { compileFunction } from 'node:vm';

import { feedKey, permissions } from '@carillon/schemas';
import { describe, expect, it } from 'vitest';

import { AccessCopy, createAccessKey, PermissionSet, presentedKey, type Direction } from './index.ts';
import { keyEntry, workspaceEntry } from './records.fixture.ts';

/** The README's examples are true: every row is tried here. */
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

/** The rows of the table whose head begins so, a cell each with the code in it or else its text. */
function rowsOf(head: string): string[][] {
  const [, table = ''] = readme.split(`\n${head}`);
  const lines = (table.split('\n\n')[0] ?? '').split('\n').slice(2);
  return lines.map((line) => line.slice(1, -1).split(' | ').map((cell) => /`([^`]+)`/.exec(cell)?.[1] ?? cell.trim()));
}

describe('the README', () => {
  const { id, key, hash } = createAccessKey();
  const places = rowsOf('| place | example');

  it('tells what a key looks like', () => {
    expect(readme).toContain(`\`ck_<id>_<secret>\`: ${key.length} characters. The id is ${id.length} characters`);
    expect(readme).toContain(`The secret is ${key.split('_')[2]?.length} such characters`);
    expect(readme).toContain(`base64url, ${hash.length} characters`);
  });

  it('shows how it is used', () => {
    const told: string[] = [];
    const entries = [workspaceEntry('w1'), keyEntry({ id, hash })];
    const feed = entries.map((entry, at) => ({ key: feedKey(entry), record: { seq: at + 1, entry } }));
    const example = /```ts\n([^]*?)```/.exec(readme)?.[1]?.replace(/^import .*$/m, '') ?? '';
    // Its own text, run: what it ends with is what it has found.
    const run = compileFunction(`${example}\nreturn answer;`, ['AccessCopy', 'presentedKey', 'told', 'feed', 'request']) as (...given: unknown[]) => unknown;
    expect(run(AccessCopy, presentedKey, told, feed, { headers: {}, url: `/k/${key}/` })).toMatchObject({ ok: true, principal: { keyId: id, permissions: expect.any(PermissionSet) as unknown } });
    expect(told).toEqual(['workspace']);
  });

  it('lists the five places of a key', () => expect(places).toHaveLength(5));

  it.each(places)('tells of %s: %s', (_, example = '', left = '') => {
    const [, header, value] = /^([\w-]+): (.+)$/.exec(example.replace('KEY', key)) ?? [];
    const request = header === undefined ? { headers: {}, url: example.replace('KEY', key) } : { headers: { [header.toLowerCase()]: value }, url: left };
    expect(presentedKey(request)).toEqual({ ok: true, key, url: left });
  });

  const set = new PermissionSet(permissions.parse(JSON.parse(/```json\n([^]*?)```/.exec(readme)?.[1] ?? '')));
  const decisions = rowsOf('| | room | event');
  const subscriptions = rowsOf('| subscription');

  it('has examples of every rule', () => {
    expect(new Set(decisions.map(([, , , , rule]) => rule))).toEqual(new Set(['', '1', '2', '3', '4']));
    expect([decisions.length, subscriptions.length]).toEqual([14, 6]);
  });

  it.each(decisions)('tells whether to %s, %s: %s is %s', (direction, room = '', event, answer) => {
    expect(set.allows(direction as Direction, room, event === 'no name' ? undefined : event)).toBe(answer === 'allowed');
  });

  it.each(subscriptions)('tells of a subscription to %s: %s', (pattern = '', answer = '') => {
    expect(set.covers('receive', pattern)).toBe(answer !== 'refused');
  });
});
