export { adminMetricDefinitions } from './admin-server.ts';
export { BodyReader, type RequestBody } from './body-reader.ts';
export { commonSettings, type AppName } from './common-settings.ts';
export type { Component } from './component.ts';
export { exitWithConfigProblems } from './config-exit.ts';
export { Health, type HealthAnswer, type HealthCheck, type Readiness } from './health.ts';
export { sendRefusal } from './http-refusal.ts';
export type { LifecycleEvent, LifecycleState } from './lifecycle.ts';
export { listen, ListenError, type ListenErrorCode } from './listen.ts';
export { formatAddress, isLoopback, parseListenAddress, type ListenAddress, type ListenAddressResult } from './listen-address.ts';
export { loadConfig, type ConfigProblem, type ConfigResult, type Environment } from './load-config.ts';
export { isLocalRequest, type RequestOrigin } from './local-request.ts';
export { createLogger, LOG_LEVELS, type Logger, type LoggerOptions, type LogLevel, type LogOutput } from './log.ts';
export { maskUrl } from './mask.ts';
export { Metrics, type MetricDefinition, type MetricReading, type MetricSample } from './metrics.ts';
export { pageOriginCheck, type PageOriginOptions } from './page-origin.ts';
export { PROBLEM_MEDIA_TYPE, sendProblem, type Problem, type ProblemDetail } from './problem.ts';
export { detachedHost, nodeProcess, type DetachedHost, type ProcessHost } from './process-host.ts';
export { processMetricDefinitions } from './process-metrics.ts';
export { runProcess, type ProcessContext, type ProcessOptions, type RunningProcess } from './run-process.ts';
export { bytes, commaList, durationMs, flag, integer, listenAddress, logLevel, oneOf, text, urlOf, type Range } from './setting-types.ts';
export {
  listSettings, redactConfig, setting, type Config, type PrintableConfig, type Setting, type SettingEntry, type SettingOptions, type Settings,
} from './settings.ts';
export { keepSecret, readSecret } from './secret-file.ts';
export { Tally } from './tally.ts';
