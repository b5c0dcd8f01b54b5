import { describe, expect, it } from 'vitest';

import { createLogger, type LogLevel } from './index.ts';

function capture(level: LogLevel) {
  const lines: Record<string, unknown>[] = [];
  const log = createLogger({ name: 'hub', version: '1.2.3', level, output: { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) } });
  return { log, lines };
}

describe('createLogger', () => {
  it('writes one JSON object a line', () => {
    const { log, lines } = capture('info');
    log.info({ room: 'a' }, 'an event came');
    expect(lines).toEqual([{ level: 'info', time: expect.stringMatching(/^\d{4}-.*Z$/) as string, name: 'hub', version: '1.2.3', pid: process.pid, room: 'a', msg: 'an event came' }]);
  });

  it('writes each level under its name, from the set level up', () => {
    const { log, lines } = capture('warn');
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const) log[level]({}, level);
    expect(lines.map((line) => line['level'])).toEqual(['warn', 'error', 'fatal']);
  });

  it('is silent when told so', () => {
    const { log, lines } = capture('silent');
    log.fatal({}, 'x');
    expect(lines).toEqual([]);
  });

  it('changes the level of the whole family at run time, whoever it is set on', () => {
    const { log, lines } = capture('info');
    const child = log.child({ part: 'door' });
    const grandchild = child.child({ peer: 'x' });
    grandchild.debug({}, 'unheard');
    log.level = 'debug';
    grandchild.debug({}, 'heard');
    child.level = 'error';
    log.info({}, 'unheard');
    expect(log.level).toBe('error');
    expect(lines).toMatchObject([{ part: 'door', peer: 'x', msg: 'heard' }]);
  });

  it('lets no secret through: fields, child fields, errors, URLs in fields and in the text', () => {
    const { log, lines } = capture('info');
    const error = Object.assign(new Error('failed at /k/SECRET/x'), { token: 'SECRET' });
    log.child({ accessKey: 'SECRET' }).info({ a: { authorization: 'SECRET' }, url: '/hub?key=SECRET', error }, 'GET /k/SECRET/hub');
    expect(lines).toHaveLength(1);
    expect(JSON.stringify(lines)).not.toContain('SECRET');
    expect(lines[0]).toMatchObject({ accessKey: '[redacted]', url: '/hub?key=[redacted]', error: { type: 'Error' }, msg: 'GET /k/[redacted]/hub' });
  });
});
