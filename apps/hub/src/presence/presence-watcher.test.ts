import { formatControl, parseControl, type ControlFrame } from '@carillon/wire';
import { describe, expect, it } from 'vitest';

import { PresenceFold } from './presence-fold.ts';
import { PresenceWatcher } from './presence-watcher.ts';

type PresenceFrame = Extract<ControlFrame, { readonly op: 'presence' }>;

function createWorld() {
  const frames: PresenceFrame[] = [];
  let clear: (() => void) | undefined;
  let isSlow = false;
  let seq = 0;
  const watcher = new PresenceWatcher({
    request: 'w', room: 'A',
    send: (frame) => frames.push(frame as PresenceFrame),
    whenClear: (listener) => {
      if (isSlow) clear = listener;
      else listener();
    },
  });
  const fold = new PresenceFold((_room, name, atMs) => watcher.changed(name, atMs));
  const apply = (fact: Parameters<PresenceFold['apply']>[0]): void => void fold.apply(fact, { seq: (seq += 1), storedAtMs: 0 });
  return {
    watcher, fold, frames,
    enter: (name: string, data?: string) => apply({ type: 'entered', hub: 'h', member: name, room: 'A', name, owner: '', atMs: 1, ...(data === undefined ? {} : { data }) }),
    leave: (name: string, atMs = 2) => apply({ type: 'left', hub: 'h', member: name, atMs }),
    stall: () => (isSlow = true),
    take: () => {
      isSlow = false;
      clear?.();
    },
    /** Runs what was put off to later turns, however many they are. */
    settle: async (turns = 100) => {
      for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

const namesOf = (frames: readonly PresenceFrame[]): { readonly joined: string[]; readonly left: string[] } => ({
  joined: frames.flatMap(({ joined = [] }) => joined.map(({ name }) => name)), left: frames.flatMap(({ left = [] }) => left.map(({ name }) => name)),
});

describe('a watcher', () => {
  it('is told everybody first, also when that is nobody', async () => {
    const { watcher, fold, frames, settle } = createWorld();
    watcher.begin(fold);
    await settle();
    expect(frames).toEqual([{ op: 'presence', request: 'w', room: 'A', isAll: true, joined: [], left: [] }]);
  });

  it('is told many in several frames, of which the first says that it is everybody', async () => {
    const { watcher, fold, frames, enter, leave, settle } = createWorld();
    for (let n = 0; n < 450; n += 1) enter(`n${n}`);
    for (let n = 0; n < 30; n += 1) leave(`n${n}`);
    watcher.begin(fold);
    await settle();
    expect(frames.map(({ isAll, joined = [], left = [] }) => [isAll, joined.length + left.length])).toEqual([[true, 200], [undefined, 200], [undefined, 50]]);
    expect(namesOf(frames).joined).toEqual([...fold.people('A').keys()]);
    expect(new Set(namesOf(frames).left)).toEqual(new Set(fold.lastSeen('A').keys()));
  });

  it('gets frames that every peer can read, whatever members show of themselves', async () => {
    const { watcher, fold, frames, enter, settle } = createWorld();
    for (let n = 0; n < 300; n += 1) enter(`n${n}`, '\u0001'.repeat(1_024));
    watcher.begin(fold);
    await settle();
    for (const frame of frames) expect(parseControl(formatControl(frame))).toEqual({ ok: true, frame });
    expect(namesOf(frames).joined).toHaveLength(300);
  });

  it('is told what changed in one turn together, and nothing when nothing did', async () => {
    const { watcher, fold, frames, enter, leave, settle } = createWorld();
    watcher.begin(fold);
    await settle();
    enter('ann', 'x');
    enter('bob');
    leave('bob', 7);
    await settle();
    expect(frames.slice(1)).toEqual([{ op: 'presence', request: 'w', room: 'A', joined: [{ name: 'ann', at: 1, data: 'x' }], left: [{ name: 'bob', at: 7 }] }]);
    await settle();
    expect(frames).toHaveLength(2);
  });

  it('that reads slowly is told the latest of each name, once', async () => {
    const { watcher, fold, frames, enter, leave, settle, stall, take } = createWorld();
    watcher.begin(fold);
    await settle();
    stall();
    for (let n = 0; n < 1_000; n += 1) {
      enter('ann', `${n}`);
      leave('ann', n);
      enter('bob', `${n}`);
      leave('bob', n);
    }
    enter('bob', 'last');
    await settle();
    expect(frames).toHaveLength(1);
    take();
    await settle();
    expect(frames.slice(1)).toEqual([{ op: 'presence', request: 'w', room: 'A', joined: [{ name: 'bob', at: 1, data: 'last' }], left: [{ name: 'ann', at: 999 }] }]);
  });

  it('that more names wait for than can be kept is told everybody anew', async () => {
    const { watcher, fold, frames, enter, leave, settle, stall, take } = createWorld();
    watcher.begin(fold);
    await settle();
    stall();
    enter('ann');
    for (let n = 0; n < 8_192; n += 1) {
      enter(`n${n}`);
      leave(`n${n}`);
    }
    await settle();
    take();
    await settle();
    expect(frames[1]?.isAll).toBe(true);
    expect(namesOf(frames.slice(1)).joined).toEqual(['ann']);
    expect(namesOf(frames.slice(1)).left.length).toBeLessThanOrEqual(1_001);
  });

  it('is told nothing after its end', async () => {
    const { watcher, fold, frames, enter, settle } = createWorld();
    watcher.begin(fold);
    enter('ann');
    watcher.end();
    enter('bob');
    await settle();
    expect(frames).toEqual([]);
  });
});
