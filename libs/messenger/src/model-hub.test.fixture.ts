import { encodeFrame, formatControl, formatTagFields, matchesPattern, parseControl, parseFrame, type ControlFrame, type ErrorCode, type Since } from '@carillon/wire';

/** An event of the model's log. */
export interface ModelEvent {
  readonly room: string;
  readonly id: string;
  readonly seq: number;
  readonly from: string;
  readonly body: string;
}

interface Request {
  readonly rooms: readonly string[];
  readonly echo: boolean;
  state: 'catching-up' | 'live';
  after: number;
}

export interface ModelHubOptions {
  readonly publishesMax?: number;
  readonly frameMaxBytes?: number;
  /** Rooms of which nothing is kept. */
  readonly isLiveRoom?: (room: string) => boolean;
  /** Whether it says how far it is after each event, as one that knows does; otherwise it does not say. Default true. */
  readonly marks?: boolean;
  /** A refusal for a publish, instead of storing it. */
  readonly refuse?: (id: string) => ErrorCode | undefined;
}

/**
 * What a hub of the second protocol does, without sockets and time: a log that takes an id once, subscriptions that are
 * caught up when the test says so, and acks that are given when the test says so. Small enough to see through.
 */
export class ModelHub {
  epoch = 'epoch-1';
  readonly log: ModelEvent[] = [];
  readonly peers = new Set<ModelPeer>();
  readonly options: ModelHubOptions;
  /** Sequences up to this one are past retention. */
  retainedAfter = 0;
  #seq = 0;

  constructor(options: ModelHubOptions = {}) {
    this.options = options;
  }

  get head(): number {
    return this.#seq;
  }

  join(send: (frame: Uint8Array | string) => void): ModelPeer {
    const peer = new ModelPeer(this, send);
    this.peers.add(peer);
    return peer;
  }

  /** Stores an event, once an id, and routes it; 0: it was routed only. */
  publish(room: string, event: { readonly id: string; readonly from: string; readonly body: string }): number {
    if (this.options.isLiveRoom?.(room) === true) {
      for (const peer of this.peers) peer.route({ room, seq: 0, ...event });
      return 0;
    }
    const known = this.log.find(({ id }) => id === event.id);
    if (known !== undefined) return known.seq;
    const stored = this.store(room, event);
    for (const peer of this.peers) peer.route(stored);
    return stored.seq;
  }

  /** Stores an event that nobody is told of yet. */
  store(room: string, event: { readonly id: string; readonly from: string; readonly body: string }): ModelEvent {
    const stored = { room, seq: (this.#seq += 1), ...event };
    this.log.push(stored);
    return stored;
  }

  /** A log made anew. */
  renew(epoch: string): void {
    this.epoch = epoch;
    this.log.length = 0;
    this.#seq = 0;
    this.retainedAfter = 0;
  }
}

/** One messenger at the model. */
export class ModelPeer {
  readonly heard: ControlFrame[] = [];
  /** Publishes that came and were not answered yet. */
  readonly unanswered: (() => void)[] = [];
  readonly #hub: ModelHub;
  readonly #send: (frame: Uint8Array | string) => void;
  readonly #requests = new Map<string, Request>();
  #session = '';

  constructor(hub: ModelHub, send: (frame: Uint8Array | string) => void) {
    this.#hub = hub;
    this.#send = send;
  }

  leave(): void {
    this.#hub.peers.delete(this);
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
        if (request.echo || event.from !== this.#session) this.#give(event, name);
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
    if (due.some(({ state }) => event.seq === 0 || state === 'live')) this.#give(event);
    if (event.seq === 0 || this.#hub.options.marks === false) return;
    for (const [name, { state }] of this.#requests) if (state === 'live') this.say({ op: 'live', request: name, seq: event.seq });
  }

  #give({ room, id, seq, from, body }: ModelEvent, re?: string): void {
    this.#send(encodeFrame(room, body, formatTagFields({ id, ...(seq === 0 ? {} : { seq }), at: 1, from, ...(re === undefined ? {} : { re }) })));
  }

  #publish(frame: Uint8Array): void {
    const parsed = parseFrame(frame, 2);
    if (!parsed.ok || parsed.fields.id === undefined) throw new Error('not an event with an id');
    const { room, fields: { id }, body } = parsed;
    const code = this.#hub.options.refuse?.(id);
    if (code !== undefined) {
      this.unanswered.push(() => this.say({ op: 'error', code, request: id }));
      return;
    }
    const seq = this.#hub.publish(room, { id, from: this.#session, body: new TextDecoder().decode(body) });
    this.unanswered.push(() => this.say({ op: 'published', class: seq === 0 ? 'live' : 'stored', events: [[id, seq]] }));
  }

  #control(frame: ControlFrame): void {
    switch (frame.op) {
      case 'hello': {
        const { publishesMax = 64, frameMaxBytes = 1_000_000 } = this.#hub.options;
        this.#session = frame.session ?? 'nobody';
        return this.say({ op: 'welcome', session: this.#session, hub: 'model', heartbeatMs: 30_000, epoch: this.#hub.epoch, class: 'stored', limits: { frameMaxBytes, roomMaxBytes: 256, patternsMax: 10_000, publishesMax } });
      }
      case 'subscribe':
        return this.#subscribe(frame);
      case 'unsubscribe':
        return void this.#requests.delete(frame.request);
      case 'history':
        return this.#history(frame);
      default:
        throw new Error(`a messenger does not say ${frame.op}`);
    }
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
    for (const event of page) this.#give(event, request);
    const { retainedAfter } = this.#hub;
    if (retainedAfter > 0) this.say({ op: 'gap', request, from: 1, to: retainedAfter, reason: 'retention' });
    const isWhole = after === undefined || page.length === all.length;
    const next = isWhole ? Math.min(this.#hub.head, before - 1) : page.at(-1)?.seq ?? after;
    this.say({ op: 'page', request, next, isLast: next === this.#hub.head });
  }
}

const wants = ({ rooms }: { readonly rooms: readonly string[] }, room: string): boolean => rooms.some((pattern) => matchesPattern(pattern, room));
