import { eventually } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

import { ProcessWatch, type WatchedProcess } from './process-watch.ts';

function aProcess(): WatchedProcess & { isUp: boolean; bytes: number } {
  return { name: 'hub', isUp: true, bytes: 100, rssBytes() { return this.bytes; }, lastWords: () => 'no room' };
}

describe('whoever watches the processes of a run', () => {
  it('knows the most memory that each has had', async () => {
    const hub = aProcess();
    const watch = new ProcessWatch([hub]);
    hub.bytes = 300;
    await eventually(() => watch.largest['hub'] === 300);
    hub.bytes = 200;
    const before = watch.looks;
    await eventually(() => watch.looks > before);
    expect(watch.largest).toEqual({ hub: 300 });
    watch.stop();
  });

  it('tells of one that ended by itself, with what it printed last', async () => {
    const hub = aProcess();
    const watch = new ProcessWatch([hub]);
    hub.bytes = 0;
    await expect(watch.fell).rejects.toThrow(/hub ended by itself.*no room/s);
    watch.stop();
  });

  it('says nothing of one that was killed', async () => {
    const [hub, repeater] = [aProcess(), aProcess()];
    const watch = new ProcessWatch([hub, repeater]);
    Object.assign(hub, { isUp: false, bytes: 0 });
    const before = watch.looks;
    await eventually(() => watch.looks > before);
    expect(await Promise.race([watch.fell, Promise.resolve('nothing')])).toBe('nothing');
    watch.stop();
  });
});
