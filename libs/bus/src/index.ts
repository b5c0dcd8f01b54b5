export {
  BusError,
  type Bus,
  type BusDelivery,
  type BusErrorCode,
  type BusLog,
  type BusLogLine,
  type BusState,
  type BusSubscription,
  type FlushOptions,
  type PublishOutcome,
  type SubscribeOptions,
} from './bus.ts';
export { createInProcessExchange, type InProcessExchange, type InProcessExchangeOptions } from './in-process-bus.ts';
export type { KeyValues, KeyValuesOptions, KvEntry, KvWatch, KvWatchOptions } from './key-values.ts';
export { connectNats, type ConnectNatsOptions } from './nats-bus.ts';
export { natsLogin, type NatsLogin } from './nats-login.ts';
