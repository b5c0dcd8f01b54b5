export {
  LogError,
  type Appended, type ConsumerInfo, type ConsumerSpec, type DeadDelivery, type Delivery, type EventLog, type LastQuery, type LogBounds, type LogConsumer, type LogCounts, type LogErrorCode, type LogEvent,
  type LogGap, type LogPage, type LogState, type LogTail, type ReadQuery, type RetentionPolicy, type StoredClass, type StoredEvent, type TailOptions,
} from './event-log.ts';
export { systemClock, type LogClock } from './due-times.ts';
export { openJetStreamLog, type JetStreamLogLine, type JetStreamLogOptions } from './jetstream-log.ts';
export { type JetStreamCredentials } from './jetstream-dial.ts';
export { openLmdbLog, type OpenLmdbLogOptions } from './lmdb-log.ts';
export type { LogLog } from './log-faults.ts';
