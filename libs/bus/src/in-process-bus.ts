import { BusError, requireSubject, type Bus, type BusDelivery, type BusLog, type BusSubscription, type PublishOutcome, type SubscribeOptions } from './bus.ts';
import { InProcessBucket, InProcessKeyValues } from './in-process-key-values.ts';
import { requireBucket, type KeyValues } from './key-values.ts';
import { ObservedState } from './observed-state.ts';
import { SubjectRoutes } from './subject-routes.ts';

// NATS servers' own default, so that what works here works there.
const PAYLOAD_MAX_BYTES = 1024 * 1024;
const OUTBOUND_MAX_BYTES = 64 * 1024 * 1024;
// What an event under way costs beside its payload, roughly.
const EVENT_OVERHEAD_BYTES = 200;

export interface InProcessExchangeOptions {
  /** 1 MiB by default. */
  readonly payloadMaxBytes?: number;
  /** Bytes that one handle may have under way before it is `backlogged`; 64 MiB by default. */
  readonly outboundMaxBytes?: number;
  readonly log?: BusLog;
}

export interface InProcessExchange {
  /** A handle of its own; what it publishes reaches the other handles. */
  connect(): Bus;
}

interface Route {
  readonly owner: object;
  readonly queue?: string;
  readonly deliver: (delivery: BusDelivery) => void;
  ended: boolean;
}

/*
 * Events are routed when they are published and delivered in a later turn of the event loop, in one order for all handles: a
 * delivery never runs inside a publish, and what deliveries publish waits for the turn after, so that sockets get theirs.
 */
export function createInProcessExchange(options: InProcessExchangeOptions = {}): InProcessExchange {
  const { payloadMaxBytes = PAYLOAD_MAX_BYTES, outboundMaxBytes = OUTBOUND_MAX_BYTES, log = () => undefined } = options;
  const routes = new SubjectRoutes<Route>();
  const buckets = new Map<string, InProcessBucket>();
  let waiting: (() => void)[] = [];

  const runTurn = () => {
    const turn = waiting;
    waiting = [];
    for (const step of turn) step();
  };
  const nextTurn = (step: () => void) => {
    if (waiting.length === 0) setImmediate(runTurn);
    waiting.push(step);
  };
  const turnPassed = () => new Promise<void>((resolve) => nextTurn(resolve));

  const deliver = (route: Route, delivery: BusDelivery) => {
    if (route.ended) return;
    try {
      route.deliver(delivery);
    } catch (error) {
      log({ level: 'error', text: 'A delivery threw', fields: { subject: delivery.subject, error } });
    }
  };

  function connect(): Bus {
    const owner = {};
    const state = new ObservedState('connected', log);
    const subscriptions = new Set<BusSubscription>();
    const opened = new Map<string, InProcessKeyValues>();
    let outboundBytes = 0;
    let closing: Promise<void> | undefined;

    function publish(subject: string, payload: Uint8Array): PublishOutcome {
      requireSubject(subject);
      if (state.current === 'closed') return 'away';
      if (payload.length > payloadMaxBytes) return 'too-large';
      const targets = routes.match(subject, (route) => route.owner !== owner);
      if (targets.length === 0) return 'sent';
      const byteCount = payload.length + EVENT_OVERHEAD_BYTES;
      if (outboundBytes > 0 && outboundBytes + byteCount > outboundMaxBytes) return 'backlogged';
      outboundBytes += byteCount;
      nextTurn(() => {
        outboundBytes -= byteCount;
        for (const route of targets) deliver(route, { subject, payload });
      });
      return 'sent';
    }

    function subscribe(subject: string, { queue, deliver }: SubscribeOptions): BusSubscription {
      requireSubject(subject);
      if (state.current === 'closed') throw new BusError('BUS_CLOSED', 'The bus is closed.');
      const route: Route = { owner, deliver, ended: false, ...(queue === undefined ? {} : { queue }) };
      routes.add(subject, route);
      let ending: Promise<void> | undefined;
      const end = async () => {
        subscriptions.delete(subscription);
        routes.remove(subject, route);
        await turnPassed();
        route.ended = true;
      };
      const subscription: BusSubscription = { subject, active: Promise.resolve(), unsubscribe: () => (ending ??= end()) };
      subscriptions.add(subscription);
      return subscription;
    }

    function keyValues(bucket: string): KeyValues {
      requireBucket(bucket);
      if (state.current === 'closed') throw new BusError('BUS_CLOSED', 'The bus is closed.');
      const known = opened.get(bucket);
      if (known !== undefined) return known;
      const shared = buckets.get(bucket) ?? new InProcessBucket();
      buckets.set(bucket, shared);
      const own = new InProcessKeyValues(shared, { payloadMaxBytes, outboundMaxBytes, log, nextTurn });
      opened.set(bucket, own);
      return own;
    }

    async function close(): Promise<void> {
      state.enter('closed');
      await Promise.all([...[...opened.values()].map((own) => own.close()), ...[...subscriptions].map((subscription) => subscription.unsubscribe())]);
      await turnPassed();
    }

    return {
      get state() {
        return state.current;
      },
      payloadMaxBytes,
      publish,
      subscribe,
      onState: (listener) => state.listen(listener),
      keyValues,
      // Needs no bound: the next turn always comes.
      flush: () => (state.current === 'closed' ? Promise.reject(new BusError('BUS_CLOSED', 'The bus is closed.')) : turnPassed()),
      close: () => (closing ??= close()),
    };
  }
  return { connect };
}
