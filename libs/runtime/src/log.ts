import { trace } from '@opentelemetry/api';
import { pino, stdTimeFunctions, type Logger as PinoLogger } from 'pino';

import { maskUrl, redactFields } from './mask.ts';

/** Log levels from the most to the least talkative; `silent` writes nothing. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** How much is logged. */
export type LogLevel = (typeof LOG_LEVELS)[number];

type WritingLevel = Exclude<LogLevel, 'silent'>;
type Write = (fields: object, text: string) => void;

/**
 * Structured logging: fields first, then one sentence. Secret fields are redacted at any depth and keys in URLs are masked.
 * Setting `level` on any logger changes it for the whole family, children included, at once.
 */
export interface Logger {
  readonly trace: Write;
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  readonly fatal: Write;
  level: LogLevel;
  /** A logger that adds the fields to each of its lines. */
  child(fields: object): Logger;
}

/** Where log lines go, each ending with a line feed. */
export interface LogOutput {
  write(line: string): unknown;
}

/** How a logger begins. */
export interface LoggerOptions {
  readonly name: string;
  readonly version: string;
  readonly level: LogLevel;
  readonly output: LogOutput;
}

/** One threshold for a whole family: pino's children keep the level they were born with, ours must follow `PUT /log-level`. */
interface Threshold {
  level: LogLevel;
}

/** A logger that writes one JSON object a line, with `traceId` and `spanId` while a span is active. */
export function createLogger(options: LoggerOptions): Logger {
  const { name, version, level, output } = options;
  const root = pino(
    { level: 'trace', base: { name, version, pid: process.pid }, timestamp: stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) }, mixin: activeSpan },
    { write: (line) => void output.write(line) },
  );
  return wrap(root, { level });
}

function wrap(lines: PinoLogger, threshold: Threshold): Logger {
  const writer = (level: WritingLevel): Write => {
    const rank = LOG_LEVELS.indexOf(level);
    return (fields, text) => {
      if (rank >= LOG_LEVELS.indexOf(threshold.level)) lines[level](redactFields(fields), maskUrl(text));
    };
  };
  return {
    trace: writer('trace'), debug: writer('debug'), info: writer('info'), warn: writer('warn'), error: writer('error'), fatal: writer('fatal'),
    get level() {
      return threshold.level;
    },
    set level(level) {
      threshold.level = level;
    },
    child: (fields) => wrap(lines.child(redactFields(fields)), threshold),
  };
}

function activeSpan(): object {
  const span = trace.getActiveSpan()?.spanContext();
  return span === undefined ? {} : { traceId: span.traceId, spanId: span.spanId };
}
