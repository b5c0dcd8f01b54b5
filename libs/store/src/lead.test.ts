import { eventually, startFaultProxy } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

import { usePostgres } from './postgres.fixture.ts';
import type { Store } from './store.ts';

const postgres = usePostgres();

/** Asks for the lead and keeps what it hears. */
function candidate(store: Store, name = 'publisher') {
  const heard: string[] = [];
  const lead = store.lead(name, { gained: () => heard.push('gained'), lost: () => heard.push('lost') });
  return { heard, stop: async () => lead.stop(), leads: () => heard.at(-1) === 'gained' };
}

describe('the lead', () => {
  it('is one among all that ask for a name, and passes on when it stops', async () => {
    const url = await postgres.create();
    const all = [candidate(await postgres.open({ url })), candidate(await postgres.open({ url })), candidate(await postgres.open({ url }))];
    const leaders = () => all.filter(({ leads }) => leads());
    await eventually(() => leaders().length === 1);
    const [first] = leaders();
    await first?.stop();
    expect(first?.heard).toEqual(['gained', 'lost']);
    await eventually(() => leaders().length === 1);
    expect(leaders()[0]).not.toBe(first);
    const another = candidate(await postgres.open({ url }), 'another name');
    await eventually(() => another.leads());
    expect(leaders()).toHaveLength(1);
    for (const one of [...all, another]) {
      await one.stop();
      await one.stop();
    }
  });

  it('is lost with its connection, and gained anew', async () => {
    const url = await postgres.create();
    const one = candidate(await postgres.open({ url }));
    await eventually(() => one.leads());
    await postgres.ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'carillon-lead'");
    await eventually(() => expect(one.heard).toEqual(['gained', 'lost', 'gained']));
    await one.stop();
    expect(one.heard).toEqual(['gained', 'lost', 'gained', 'lost']);
  });

  it('passes on when its holder is cut off, which knows it before another leads', { timeout: 40_000 }, async () => {
    const url = await postgres.create();
    const proxy = await startFaultProxy({ targetPort: Number(new URL(url).port) });
    const far = await postgres.open({ url: Object.assign(new URL(url), { port: String(proxy.port) }).href });
    const order: string[] = [];
    const cutOff = far.lead('publisher', { gained: () => order.push('far gained'), lost: () => order.push('far lost') });
    await eventually(() => order.length === 1);
    const near = (await postgres.open({ url })).lead('publisher', { gained: () => order.push('near gained'), lost: () => order.push('near lost') });
    proxy.stall();
    await eventually(() => expect(order).toEqual(['far gained', 'far lost', 'near gained']), { timeoutMs: 20_000 });
    await near.stop();
    await cutOff.stop();
    await proxy.heal();
    await far.close();
    await proxy.stop();
    expect(order).toEqual(['far gained', 'far lost', 'near gained', 'near lost']);
  });
});
