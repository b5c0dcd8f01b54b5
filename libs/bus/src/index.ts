export {
  BusError,
  type Bus,
  type BusDelivery,
  type BusErrorCode,
  type BusLog,
  type BusLogLine,
  type BusState,
  type BusSubscription,
  type PublishOutcome,
  type SubscribeOptions,
} from './bus.ts';
export { createInProcessExchange, type InProcessExchange, type InProcessExchangeOptions } from './in-process-bus.ts';
export { connectNats, type ConnectNatsOptions } from './nats-bus.ts';
