import { readFileSync } from 'node:fs';

import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, openTail, startTestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const page = readFileSync(new URL('../../../../docs/http.md', import.meta.url), 'utf8');

interface Example {
  readonly command: string;
  /** What is told of its output; `…` stands for anything. */
  readonly told: string;
}

/** Commands and the comments under them. */
function examples(): Example[] {
  const lines = [...page.matchAll(/```sh\n([^]*?)```/g)].flatMap(([, block = '']) => block.trimEnd().split('\n'));
  const found: { command: string; told: string[] }[] = [];
  for (const line of lines) {
    if (line.startsWith('#')) found.at(-1)?.told.push(line.slice(2));
    else found.push({ command: line, told: [] });
  }
  return found.map(({ command, told }) => ({ command, told: told.join('\n') }));
}

/** A call as the page writes it: the options that it uses, and no others. */
function readCommand(command: string): { readonly path: string; readonly headers: Record<string, string>; readonly body: string | undefined; readonly isStream: boolean } {
  const [, piped, curl = command] = /^printf '([^']*)' \| (.*)$/.exec(command) ?? [];
  const [program, ...words] = [...curl.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare = '']) => quoted ?? bare);
  const call = { path: '', headers: {} as Record<string, string>, body: undefined as string | undefined, isStream: false };
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '-H') {
      const [, name = '', value = ''] = /^([^:]+): (.*)$/.exec(words.shift() ?? '') ?? [];
      call.headers[name] = value;
    } else if (word === '-d') call.body = words.shift();
    else if (word === '--data-binary' && words.shift() === '@-') call.body = piped?.replaceAll('\\n', '\n');
    else if (word === '-N') call.isStream = true;
    else if (word.startsWith('http://127.0.0.1:7100/')) call.path = word.slice('http://127.0.0.1:7100'.length);
    else throw new Error(`cannot read ${word} in: ${command}`);
  }
  if (program !== 'curl' || call.path === '') throw new Error(`not a curl command: ${command}`);
  return call;
}

const patternOf = (told: string): RegExp => new RegExp(`^${told.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('…', '[^]*?')}\\s*$`);

describe('docs/http.md', () => {
  it('has examples of publishing, following and looking back, each with what it gives', () => {
    const paths = examples().map(({ command }) => readCommand(command).path.replace(/\?.*/, '').replace(/^.*\//, ''));
    expect([...new Set(paths)].sort()).toEqual(['consumers', 'dead-letters', 'events', 'history', 'presence', 'trail']);
    expect(examples().every(({ told }) => told !== '')).toBe(true);
  });

  it('gives what it says, from its first command to its last', async () => {
    const hub = await startTestHub({ log: true });
    for (const { command, told } of examples()) {
      const { path, headers, body, isStream } = readCommand(command);
      if (isStream) {
        const tail = await openTail(hub, path, headers);
        await eventually(() => expect(tail.text()).toMatch(patternOf(told)), { what: command });
        tail.abort();
      } else {
        const answer = await hub.call(body === undefined ? 'GET' : 'POST', path, { headers, ...(body === undefined ? {} : { body }) });
        expect([command, answer.status]).toEqual([command, 200]);
        expect(answer.text).toMatch(patternOf(told));
      }
    }
  });
});
