import { CarillonError } from '@carillon/wire';
import { callbackSink } from './callback-sink.ts';
import { EventBuffer } from './event-buffer.ts';
import type { EventGap } from './gap.ts';
import type { ReceivedEvent } from './received-event.ts';
import { RoomSubscription, type CallbackOptions, type EventSink } from './subscription.ts';
import { toError } from './to-error.ts';

/** Bytes one iterable may keep for its reader, besides the bound on events. */
const BUFFER_MAX_BYTES = 67_108_864;

export interface SubscriptionUse {
  /** Without it events are kept for the reader of the iterable, up to `maxEvents`. */
  readonly onEvent: ((event: ReceivedEvent<never>) => unknown) | undefined;
  readonly options: CallbackOptions;
  readonly maxEvents: number;
  /** Hears what goes wrong and nobody else is told. */
  readonly report: (error: Error) => void;
  readonly onRestart: (subscription: RoomSubscription) => void;
  readonly onClosed: (subscription: RoomSubscription) => void;
}

/** Puts a subscription together: where its events go, and who hears what it misses. */
export function newSubscription(rooms: readonly string[], { onEvent, options, maxEvents, report, onRestart, onClosed }: SubscriptionUse): RoomSubscription {
  const onError = options.onError ?? report;
  const sink: EventSink = onEvent === undefined
    ? new EventBuffer({ maxEvents, maxBytes: BUFFER_MAX_BYTES, onRoom: () => subscription.resume() })
    : callbackSink(onEvent, onError);
  const subscription = new RoomSubscription(rooms, { sink, request: options, onGap: tell, onRestart, onClosed });
  return subscription;

  function tell(gap: EventGap): void {
    if (options.onGap === undefined) return report(new CarillonError('EVENTS_MISSED', `${gap.from} to ${gap.to} of ${subscription.shownRooms} (${gap.reason})`));
    try {
      options.onGap(gap);
    } catch (thrown) {
      onError(toError(thrown));
    }
  }
}
