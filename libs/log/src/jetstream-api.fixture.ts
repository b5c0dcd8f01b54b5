import { connect } from 'node:net';

import { eventually, type NatsServer } from '@carillon/testing';

const HEADER_LINE = 'NATS/1.0\r\n';

export interface PublishedOptions {
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Publishes one event on a connection of its own and gives the answer, parsed as JSON; throws what JetStream calls an error. By hand,
 * so that what the tests do to a server does not pass through what they test.
 */
export async function askServer<Answer>(server: NatsServer, subject: string, { body = '', headers = {} }: PublishedOptions = {}): Promise<Answer> {
  const socket = connect({ port: server.port, host: '127.0.0.1' });
  let received = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => (received += chunk));
  socket.on('error', () => undefined);
  try {
    const head = `${HEADER_LINE}${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
    const lines = ['CONNECT {"verbose":false,"headers":true,"no_responders":true}', 'SUB answer 1', `HPUB ${subject} answer ${head.length} ${head.length + body.length}`, `${head}${body}`];
    socket.write(`${lines.join('\r\n')}\r\n`);
    let answer: { readonly error?: { readonly description: string } } | undefined;
    await eventually(() => {
      const match = /MSG answer 1 (?:\d+ )?(\d+)\r\n([^]*)/.exec(received);
      const [, length, rest = ''] = match ?? [];
      if (length === undefined || rest.length < Number(length)) return false;
      answer = JSON.parse(rest.slice(rest.indexOf('{'), Number(length))) as typeof answer;
      return true;
    }, { what: `an answer to ${subject}` });
    if (answer?.error !== undefined) throw new Error(answer.error.description);
    return answer as Answer;
  } finally {
    socket.destroy();
  }
}
