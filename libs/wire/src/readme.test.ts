import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { DEFAULT_LIMITS, formatTagFields, matchesPattern, parseControl, type ControlFrame, type ControlOp, type TagFields } from './index.ts';

/** The README's tables say what the code does: every row is read here. */
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const vectors = JSON.parse(readFileSync(new URL('../testdata/control-frames.json', import.meta.url), 'utf8')) as { good: { frame: ControlFrame }[] };

/** The rows of the table under a heading, a cell's code spans each. */
function rowsUnder(heading: string): string[][][] {
  const section = readme.split(/^##+ /m).find((text) => text.startsWith(heading)) ?? '';
  const lines = section.split('\n').filter((line) => line.startsWith('| ')).slice(2);
  return lines.map((line) => line.split(' | ').map((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '')));
}

/** The compiler holds this list equal to the frames that there are. */
const OPS: Readonly<Record<ControlOp, true>> = {
  hello: true, welcome: true, subscribe: true, subscribed: true, live: true, behind: true, unsubscribe: true, published: true, error: true, gap: true, history: true, page: true,
  consume: true, consuming: true, ack: true, nack: true, defer: true, discard: true, settled: true,
  enter: true, entered: true, watch: true, presence: true, refresh: true, refreshed: true, drain: true, bye: true,
};
const FIELDS: Readonly<Required<TagFields>> = { id: 'x', seq: 1, at: 2, from: 'CP1', ttl: 3, tp: `00-${'4'.repeat(32)}-${'0'.repeat(16)}-01`, re: '4', try: 5, rt: 'i', to: 'i', cid: 'x', delay: 6, et: 7 };

describe('the README', () => {
  const controls = rowsUnder('Text frames');

  it('lists every control frame, and so do the vectors', () => {
    expect(controls.flatMap(([ops]) => ops).sort()).toEqual(Object.keys(OPS).sort());
    expect([...new Set(vectors.good.map(({ frame }) => frame.op))].sort()).toEqual(Object.keys(OPS).sort());
  });

  it.each(controls.flatMap(([ops = [], fields = []]) => ops.map((op) => [op, fields] as const)))('lists the fields of %s', (op, fields) => {
    const used = vectors.good.flatMap(({ frame }) => (frame.op === op ? [Object.keys(frame).filter((key) => key !== 'op')] : []));
    const names = fields.map((field) => field.replace(/\?$|\{.*$/, ''));
    const needed = fields.filter((field) => !field.endsWith('?')).map((field) => field.replace(/\{.*$/, ''));
    for (const each of used) expect(names).toEqual(expect.arrayContaining(each));
    for (const name of needed) {
      const [least] = vectors.good.filter(({ frame }) => frame.op === op);
      expect(parseControl(JSON.stringify({ ...least?.frame, [name]: undefined }))).toMatchObject({ ok: false, code: 'CONTROL_INVALID' });
    }
    const [all] = [...used].sort((left, right) => right.length - left.length);
    expect(needed.every((name) => all?.includes(name))).toBe(true);
  });

  it('lists every field of the tag line', () => {
    const keys = formatTagFields(FIELDS).split('\t').slice(1).map((field) => field.split('=')[0]);
    expect(rowsUnder('Fields of the tag line').map(([key]) => key?.[0])).toEqual(keys);
  });

  it.each(rowsUnder('Room patterns').flatMap(([patterns = [], yes = [], no = []]) => patterns.map((pattern) => [pattern, yes, no] as const)))('tells what %s selects', (pattern, yes, no) => {
    for (const room of yes) expect([room, matchesPattern(pattern, room)]).toEqual([room, true]);
    for (const room of no) expect([room, matchesPattern(pattern, room)]).toEqual([room, false]);
  });

  it('tells the bounds', () => {
    expect(readme).toContain(`1 to ${DEFAULT_LIMITS.roomMaxBytes} bytes`);
    expect(readme).toContain(`at most ${DEFAULT_LIMITS.tagLineMaxBytes.toLocaleString('en')} bytes`);
    expect(readme).toContain(`most ${DEFAULT_LIMITS.controlMaxBytes.toLocaleString('en')} bytes`);
  });
});
