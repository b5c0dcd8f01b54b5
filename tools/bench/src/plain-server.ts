import { WebSocket, WebSocketServer } from 'ws';

/**
 * What one would write first: rooms in a map, `ws.send` for every subscriber. Same frames, same subscription message,
 * compression off, so that only the fan-out differs. Run as a process of its own by the benchmark.
 */
const rooms = new Map<string, Set<WebSocket>>();

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false, backlog: 4_096 });
server.on('connection', (socket) => {
  const joined = new Set<string>();
  socket.on('message', (data: Buffer, isBinary) => {
    if (!isBinary) {
      const change = JSON.parse(data.toString()) as { rooms: string[]; create: boolean };
      for (const room of change.rooms) {
        const members = rooms.get(room) ?? new Set();
        rooms.set(room, members.add(socket));
        joined.add(room);
      }
      return;
    }
    const room = data.toString('utf8', 0, data.indexOf(10));
    for (const member of rooms.get(room) ?? []) {
      if (member !== socket && member.readyState === WebSocket.OPEN) member.send(data, { binary: true });
    }
  });
  socket.on('close', () => {
    for (const room of joined) rooms.get(room)?.delete(socket);
  });
  socket.on('error', () => undefined);
});
server.on('listening', () => {
  const address = server.address();
  if (typeof address === 'object' && address !== null) process.stdout.write(`${JSON.stringify({ port: address.port })}\n`);
});
process.on('SIGTERM', () => process.exit(0));
