import { once } from 'node:events';
import { connect } from 'node:net';

/** Sends bytes as they are and gives all that comes back until the connection ends; throws when that takes five seconds. */
export async function rawRequest(url: string, head: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = '';
  socket.setTimeout(5_000, () => socket.destroy(new Error(`no answer to ${head.slice(0, 100)}`)));
  socket.on('data', (piece: Buffer) => (text += piece.toString('latin1')));
  const closed = once(socket, 'close');
  // Written and not ended: whoever ends their side before the answer is not answered.
  socket.write(head);
  await closed;
  return text;
}
