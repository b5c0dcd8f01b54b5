import { eventually } from '@carillon/testing';

import type { TestHub } from '../hub.fixture.ts';
import type { ReaderOutcome } from './trail-outcomes.ts';

/** What a hub tells of an event. */
export interface ToldTrail {
  readonly id: string;
  readonly room?: string;
  readonly seq?: number;
  readonly state: string;
  readonly class?: string;
  readonly acceptedAt?: number;
  readonly storedAt?: number;
  readonly expiresAt?: number;
  readonly dueAt?: number;
  readonly from?: string;
  readonly refusals: readonly { readonly code: string; readonly from?: string; readonly hub: string; readonly at: number }[];
  readonly readers: readonly ReaderOutcome[];
  readonly attempts: readonly { readonly consumer: string; readonly member?: string; readonly attempt: number; readonly outcome: string; readonly reason?: string; readonly at: number }[];
  readonly missed?: number;
  readonly truncated?: true;
  readonly next?: string;
}

export async function trailOf(hub: TestHub, id: string, { query = '', headers = {} }: { readonly query?: string; readonly headers?: Record<string, string> } = {}): Promise<ToldTrail> {
  const answer = await hub.call('GET', `/events/${id}/trail${query}`, { headers });
  if (answer.status !== 200) throw new Error(answer.text);
  return JSON.parse(answer.text) as ToldTrail;
}

/** Waits until the trail says so; gives it. */
export function trailSays(hub: TestHub, id: string, check: (trail: ToldTrail) => void, headers: Record<string, string> = {}): Promise<ToldTrail> {
  return eventually(async () => {
    const trail = await trailOf(hub, id, { headers });
    check(trail);
    return trail;
  }, { what: `the trail of ${id}`, intervalMs: 20 });
}
