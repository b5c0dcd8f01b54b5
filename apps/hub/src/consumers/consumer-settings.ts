import type { ControlFrame } from '@carillon/wire';

/** What a messenger asks for when it wants to share in a consumer. */
export type ConsumeRequest = Extract<ControlFrame, { readonly op: 'consume' }>;

/** The same with everything decided. */
export interface ConsumerSettings {
  readonly ackTimeoutMs: number;
  readonly maxDeliveries: number;
  readonly maxInFlight: number;
  /** Of this member: deliveries that it may have unsettled. */
  readonly window: number;
}

export type ReadSettings = { readonly ok: true; readonly settings: ConsumerSettings } | { readonly ok: false; readonly code: 'CONSUMER_INVALID'; readonly detail: string };

/**
 * Below a second a delivery times out on its way; beyond an hour a dead member keeps its events from the others for too long.
 * What is in flight is in the memory of the log, and what a member has unsettled in that of its hub.
 */
const RANGES: Readonly<Record<keyof ConsumerSettings, { readonly min: number; readonly max: number; readonly fallback: number }>> = {
  ackTimeoutMs: { min: 1_000, max: 3_600_000, fallback: 30_000 },
  maxDeliveries: { min: 1, max: 100, fallback: 5 },
  maxInFlight: { min: 1, max: 10_000, fallback: 1_000 },
  window: { min: 1, max: 4_096, fallback: 64 },
};

export function readSettings(asked: ConsumeRequest): ReadSettings {
  if (asked.rooms.length === 0) return { ok: false, code: 'CONSUMER_INVALID', detail: 'a consumer has a room' };
  const settings = {} as Record<keyof ConsumerSettings, number>;
  for (const [name, { min, max, fallback }] of Object.entries(RANGES) as [keyof ConsumerSettings, (typeof RANGES)[keyof ConsumerSettings]][]) {
    const value = asked[name] ?? fallback;
    if (value < min || value > max) return { ok: false, code: 'CONSUMER_INVALID', detail: `${name} is ${min} to ${max}` };
    settings[name] = value;
  }
  return { ok: true, settings };
}
