import { formatControl, SUBPROTOCOL_V2 } from '@carillon/wire';
import { describe, expect, it } from 'vitest';
import { rig, type Rig } from './fakes.test.fixture.ts';
import { known, specCells } from './spec.test.fixture.ts';

const WELCOME = formatControl({ op: 'welcome', session: 's', heartbeatMs: 1, limits: { frameMaxBytes: 1, roomMaxBytes: 1, patternsMax: 1, publishesMax: 1 } });
const CONNECT_TIMEOUT_MS = 3_000;

type Step = (walked: Rig) => void;

const EVENTS: Readonly<Record<string, Step>> = {
  'socket opens with carillon.2': ({ transport }) => transport.socket.open(SUBPROTOCOL_V2),
  'socket opens without': ({ transport }) => transport.socket.open(),
  welcome: ({ transport }) => transport.socket.text(WELCOME),
  'offer ignored': ({ transport }) => transport.socket.gone({ offerIgnored: true }),
  'connect timeout': ({ clock }) => clock.advance(CONNECT_TIMEOUT_MS),
  'closed, lost': ({ transport }) => transport.socket.gone(),
  'closed, refused': ({ transport }) => transport.socket.gone({ closeCode: 4_500 }),
};

const PATHS: Readonly<Record<string, readonly string[]>> = {
  'dialling, offered': [],
  'dialling, not offered': ['offer ignored'],
  greeting: ['socket opens with carillon.2'],
  opened: ['socket opens with carillon.2', 'welcome'],
};

/** Where the connection is: by the status, the socket and what it was sent. */
function stateOf({ messenger: { state: { status, protocol } }, transport: { socket } }: Rig): string {
  if (status === 'waiting') return 'lost';
  if (status === 'closed') return 'refused';
  if (status === 'open') return `opened, ${protocol === 2 ? 'second' : 'first'} protocol`;
  if (!socket.isOpen) return socket.protocols.length > 0 ? 'dialling, offered' : 'dialling, not offered';
  return `greeting: send ${socket.transcript.map((text) => (JSON.parse(text) as { readonly op: string }).op).join()}`;
}

const cells = specCells('A connection').flatMap(({ row, event, cell }) => {
  const ends = cell.split(' or ');
  return ends.map((end) => ({ row, event: ends.length > 1 ? `${event}, ${end}` : event, end }));
});

describe('the table of a connection', () => {
  it.each(cells)('$row on $event is $end', ({ row, event, end }) => {
    const walked = rig({ connectTimeoutMs: CONNECT_TIMEOUT_MS });
    for (const step of known(PATHS, row)) known(EVENTS, step)(walked);
    known(EVENTS, event)(walked);
    expect(stateOf(walked)).toBe(end);
  });
});
