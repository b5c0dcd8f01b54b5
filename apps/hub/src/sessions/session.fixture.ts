import { once } from 'node:events';

import { eventually } from '@carillon/testing';
import { encodeFrame, formatControl, formatTagFields, parseControl, parseFrame, SUBPROTOCOL_V2, type ControlFrame, type TagFields } from '@carillon/wire';
import { WebSocket } from 'ws';

import { onClose } from '../hub.fixture.ts';

/** What a session was sent, in the order it came. */
export type Heard =
  | { readonly kind: 'event'; readonly room: string; readonly body: string; readonly fields: TagFields }
  | { readonly kind: 'control'; readonly frame: ControlFrame };

type Op = ControlFrame['op'];
type FrameOf<O extends Op> = Extract<ControlFrame, { readonly op: O }>;

export interface TestSession {
  readonly socket: WebSocket;
  readonly heard: Heard[];
  readonly ended: Promise<{ readonly code: number; readonly reason: string }>;
  say(frame: ControlFrame): void;
  sayText(text: string): void;
  publish(room: string, body: string, fields?: TagFields): void;
  publishRaw(frame: Uint8Array): void;
  /** Publishes and waits for the ack. */
  store(room: string, body: string, fields?: TagFields): Promise<number>;
  /** The control frames of an op. */
  all<O extends Op>(op: O): FrameOf<O>[];
  /** Waits for a control frame of an op that fits. */
  got<O extends Op>(op: O, fits?: (frame: FrameOf<O>) => boolean): Promise<FrameOf<O>>;
  /** Bodies of the events, in the order they came; of those that answer a request when one is given. */
  bodies(re?: string): string[];
  subscribe(request: string, rooms: readonly string[], more?: Omit<FrameOf<'subscribe'>, 'op' | 'request' | 'rooms'>): Promise<FrameOf<'live'>>;
  leave(): Promise<void>;
}

let made = 0;

/** A messenger that speaks the second protocol, by hand. */
export async function openSession(hub: { readonly url: string }, { session, hello = true, kind = 'messenger' }: { readonly session?: string; readonly hello?: boolean; readonly kind?: 'messenger' | 'repeater' } = {}): Promise<TestSession> {
  const socket = new WebSocket(`${hub.url}/connect/${kind}`, SUBPROTOCOL_V2, { perMessageDeflate: false });
  const heard: Heard[] = [];
  socket.on('message', (data, isBinary) => {
    if (isBinary) {
      const frame = parseFrame(data as Buffer, 2);
      if (!frame.ok) throw new Error(frame.code);
      heard.push({ kind: 'event', room: frame.room, body: Buffer.from(frame.body).toString('utf8'), fields: frame.fields });
    } else {
      const control = parseControl((data as Buffer).toString('utf8'));
      if (!control.ok) throw new Error(`${control.code} ${control.detail}`);
      heard.push({ kind: 'control', frame: control.frame });
    }
  });
  const ended = new Promise<{ code: number; reason: string }>((resolve) => socket.once('close', (code, reason) => resolve({ code, reason: reason.toString('utf8') })));
  onClose(() => {
    socket.terminate();
    return ended;
  });
  await once(socket, 'open');
  socket.on('error', () => undefined);
  const sayText = (text: string): void => socket.send(text);
  const say = (frame: ControlFrame): void => sayText(formatControl(frame));
  const all: TestSession['all'] = (op) => heard.flatMap((each) => (each.kind === 'control' && each.frame.op === op ? [each.frame as never] : []));
  const got: TestSession['got'] = (op, fits = () => true) => eventually(() => all(op).find(fits) ?? false, { what: `a frame ${op}`, intervalMs: 2 });
  const publishRaw = (frame: Uint8Array): void => socket.send(frame, { binary: true });
  const publish = (room: string, body: string, fields: TagFields = {}): void => publishRaw(encodeFrame(room, body, formatTagFields(fields)));
  const mine: TestSession = {
    socket, heard, ended, say, sayText, publish, publishRaw, all, got,
    store: async (room, body, fields = {}) => {
      const id = fields.id ?? `t${(made += 1)}`;
      publish(room, body, { ...fields, id });
      const { events } = await got('published', (frame) => frame.events.some(([stored]) => stored === id));
      return events.find(([stored]) => stored === id)?.[1] ?? 0;
    },
    bodies: (re) => heard.flatMap((each) => (each.kind === 'event' && (re === undefined || each.fields.re === re) ? [each.body] : [])),
    subscribe: async (request, rooms, more = {}) => {
      say({ op: 'subscribe', request, rooms, ...more });
      return got('live', (frame) => frame.request === request);
    },
    leave: async () => {
      socket.close();
      await ended;
    },
  };
  if (hello) {
    say({ op: 'hello', ...(session === undefined ? {} : { session }) });
    if (kind === 'messenger') await got('welcome');
  }
  return mine;
}
