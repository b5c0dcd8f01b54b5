import { encodeFrame, formatControl, formatTagFields, matchesPattern, parseControl, parseFrame, type ControlFrame, type ErrorCode, type Since } from '@carillon/wire';
import type { SettleFrame } from './model-consumers.test.fixture.ts';
import type { ModelEvent, ModelHub } from './model-hub.test.fixture.ts';

interface Request {
  readonly rooms: readonly string[];
  readonly echo: boolean;
  state: 'catching-up' | 'live';
  after: number;
}

/** One messenger at the model. */
export class ModelPeer {
  readonly heard: ControlFrame[] = [];
  /** Publishes that came and were not answered yet. */
  readonly unanswered: (() => void)[] = [];
  readonly #hub: ModelHub;
  readonly #send: (frame: Uint8Array | string) => void;
  readonly #requests = new Map<string, Request>();
  readonly #inbox: string;
  #session = '';

  constructor(hub: ModelHub, send: (frame: Uint8Array | string) => void, inbox: string) {
    this.#hub = hub;
    this.#send = send;
    this.#inbox = inbox;
    hub.inboxes.set(inbox, this);
  }

  leave(): void {
    this.#hub.peers.delete(this);
    this.#hub.inboxes.delete(this.#inbox);
    this.#hub.consumers.left(this);
    this.#hub.presence.left(this);
  }

  receive(frame: Uint8Array | string): void {
    if (typeof frame !== 'string') return this.#publish(frame);
    const parsed = parseControl(frame);
    if (!parsed.ok) throw new Error(`${parsed.code}: ${frame}`);
    this.heard.push(parsed.frame);
    this.#control(parsed.frame);
  }

  say(frame: ControlFrame): void {
    this.#send(formatControl(frame));
  }

  /** Answers publishes: so many of those that came first. */
  answer(count = this.unanswered.length): void {
    for (const answer of this.unanswered.splice(0, count)) answer();
  }

  /** Gives each subscription that is behind so many events, and says that it is live when there are no more. */
  catchUp(count = Number.MAX_SAFE_INTEGER): void {
    for (const [name, request] of this.#requests) {
      if (request.state === 'live') continue;
      const { retainedAfter, head } = this.#hub;
      if (request.after < retainedAfter) {
        this.say({ op: 'gap', request: name, from: request.after + 1, to: retainedAfter, reason: 'retention' });
        request.after = retainedAfter;
      }
      const due = this.#hub.log.filter((event) => event.seq > request.after && wants(request, event.room));
      for (const event of due.slice(0, count)) {
        request.after = event.seq;
        if (request.echo || event.from !== this.#session) this.give(event, name);
      }
      if (due.length > count) continue;
      request.state = 'live';
      this.say({ op: 'live', request: name, seq: head });
    }
  }

  /** Its live subscriptions read too slowly. */
  fallBehind(): void {
    for (const [name, request] of this.#requests) {
      if (request.state !== 'live') continue;
      request.state = 'catching-up';
      request.after = this.#hub.head;
      this.say({ op: 'behind', request: name, seq: request.after });
    }
  }

  /** Gives an event to whom it is live. */
  route(event: ModelEvent): void {
    const due = [...this.#requests.values()].filter((request) => wants(request, event.room) && (request.echo || event.from !== this.#session));
    if (due.some(({ state }) => event.seq === 0 || state === 'live')) this.give(event);
    if (event.seq === 0 || this.#hub.options.marks === false) return;
    for (const [name, { state }] of this.#requests) if (state === 'live') this.say({ op: 'live', request: name, seq: event.seq });
  }

  /** Gives it an event, perhaps for one request and for so many times. */
  give({ room, id, seq, from, body, replyTo }: ModelEvent, re?: string, attempt?: number): void {
    const fields = { id, ...(seq === 0 ? {} : { seq }), at: 1, from, ...(re === undefined ? {} : { re }), ...(attempt === undefined ? {} : { try: attempt }), ...(replyTo === undefined ? {} : { rt: replyTo }) };
    this.#send(encodeFrame(room, body, formatTagFields(fields)));
  }

  #publish(frame: Uint8Array): void {
    const parsed = parseFrame(frame, 2);
    if (!parsed.ok || parsed.fields.id === undefined) throw new Error('not an event with an id');
    const { room, fields: { id, rt, to, cid, delay }, body } = parsed;
    const code = this.#hub.options.refuse?.(id);
    if (code !== undefined) return this.#refuseLater(id, code);
    const event = { id, from: this.#session, body: new TextDecoder().decode(body), ...(rt === undefined ? {} : { replyTo: rt }) };
    if (rt !== undefined && rt !== this.#inbox) return this.#refuseLater(id, 'TAG_LINE_INVALID');
    if (to !== undefined) {
      const requester = this.#hub.inboxes.get(to);
      if (requester === undefined) return this.#refuseLater(id, 'REPLY_UNDELIVERABLE');
      requester.#send(encodeFrame(room, event.body, formatTagFields({ id, at: 1, from: this.#session, ...(cid === undefined ? {} : { cid }) })));
    }
    if (delay !== undefined) this.#hub.delayed.push({ delayMs: delay, fire: () => void this.#hub.publish(room, event) });
    const seq = to === undefined && delay === undefined ? this.#hub.publish(room, event) : 0;
    this.unanswered.push(() => this.say({ op: 'published', class: seq === 0 && delay === undefined ? 'live' : 'stored', events: [[id, seq]] }));
  }

  #refuseLater(request: string, code: ErrorCode): void {
    this.unanswered.push(() => this.say({ op: 'error', code, request }));
  }

  #control(frame: ControlFrame): void {
    switch (frame.op) {
      case 'hello': {
        const { publishesMax = 64, frameMaxBytes = 1_000_000, givesInboxes = true } = this.#hub.options;
        this.#session = frame.session ?? 'nobody';
        return this.say({ op: 'welcome', session: this.#session, hub: 'model', ...(givesInboxes ? { inbox: this.#inbox } : {}), heartbeatMs: 30_000, epoch: this.#hub.epoch, class: 'stored', limits: { frameMaxBytes, roomMaxBytes: 256, patternsMax: 10_000, publishesMax } });
      }
      case 'subscribe':
        return this.#subscribe(frame);
      case 'unsubscribe':
        this.#hub.consumers.left(this, frame.request);
        this.#hub.presence.left(this, frame.request);
        return void this.#requests.delete(frame.request);
      case 'consume':
        return this.#hub.consumers.join(this, frame);
      case 'ack':
      case 'nack':
      case 'defer':
      case 'discard':
        return this.#settle(frame);
      case 'enter':
        return this.#hub.presence.enter(this, { ...frame, name: frame.name ?? this.#session });
      case 'watch':
        return this.#hub.presence.watch(this, frame);
      case 'refresh': {
        const code = this.#hub.options.refuseKey?.(frame.key);
        return this.say(code === undefined ? { op: 'refreshed', request: frame.request } : { op: 'error', code, request: frame.request });
      }
      case 'history':
        return this.#history(frame);
      default:
        throw new Error(`a messenger does not say ${frame.op}`);
    }
  }

  /** What it is kept as is decided now, and said when the test says so. */
  #settle(frame: SettleFrame): void {
    const settled = this.#hub.consumers.settle(this, frame);
    this.unanswered.push(() => this.say(settled));
  }

  #subscribe({ request, rooms, since, echo = false }: Extract<ControlFrame, { readonly op: 'subscribe' }>): void {
    if (rooms.includes('denied')) return this.say({ op: 'error', code: 'RECEIVE_DENIED', detail: 'denied', request });
    const { epoch, head } = this.#hub;
    const after = since === undefined ? head : this.#startOf(since);
    this.say({ op: 'subscribed', request, seq: after, epoch });
    if (since === undefined) this.say({ op: 'live', request, seq: after });
    else if ('seq' in since && since.epoch !== undefined && since.epoch !== epoch) this.say({ op: 'gap', request, from: since.seq + 1, to: since.seq + 1, reason: 'epoch' });
    this.#requests.set(request, { rooms, echo, state: since === undefined ? 'live' : 'catching-up', after });
  }

  #startOf(since: Since): number {
    if ('last' in since) return Math.max(this.#hub.head - since.last, 0);
    if ('at' in since) return 0;
    return since.epoch === undefined || since.epoch === this.#hub.epoch ? since.seq : 0;
  }

  #history({ request, rooms, before = Number.MAX_SAFE_INTEGER, after, max }: Extract<ControlFrame, { readonly op: 'history' }>): void {
    const all = this.#hub.log.filter((event) => wants({ rooms }, event.room) && (after === undefined ? event.seq < before : event.seq > after));
    const page = after === undefined ? all.slice(-max) : all.slice(0, max);
    for (const event of page) this.give(event, request);
    const { retainedAfter } = this.#hub;
    if (retainedAfter > 0) this.say({ op: 'gap', request, from: 1, to: retainedAfter, reason: 'retention' });
    const isWhole = after === undefined || page.length === all.length;
    const next = isWhole ? Math.min(this.#hub.head, before - 1) : page.at(-1)?.seq ?? after;
    this.say({ op: 'page', request, next, isLast: next === this.#hub.head });
  }
}

const wants = ({ rooms }: { readonly rooms: readonly string[] }, room: string): boolean => rooms.some((pattern) => matchesPattern(pattern, room));
