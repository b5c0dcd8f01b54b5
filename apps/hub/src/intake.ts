import { eventNameOf, type AccessCopy, type Principal } from '@carillon/access';
import type { ProblemDetail } from '@carillon/runtime';
import type { ValidationMode } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';

import type { HubCounts } from './counts.ts';

/**
 * What an event has to pass before it is routed: how much its sender may send, what it may send, and, where the workspace
 * asks for it, the definition of the event. The body is read only when one of them depends on it.
 */
export interface IntakeRefusal {
  readonly code: ErrorCode;
  readonly detail: string;
  /** Where the body does not fit its definition. */
  readonly errors?: readonly ProblemDetail[];
}

export interface IntakeEvent {
  readonly room: string;
  /** The whole frame; its body begins at `bodyAt`. */
  readonly bytes: Buffer;
  readonly bodyAt: number;
}

export class Intake {
  readonly #workspaceId: string;
  readonly #copy: AccessCopy;
  readonly #counts: HubCounts;
  #validation: ValidationMode = 'off';

  constructor(workspaceId: string, { copy, counts }: { readonly copy: AccessCopy; readonly counts: HubCounts }) {
    this.#workspaceId = workspaceId;
    this.#copy = copy;
    this.#counts = counts;
    this.refresh();
  }

  /** The settings of the workspace have changed. */
  refresh(): void {
    this.#validation = this.#copy.workspace(this.#workspaceId)?.validation ?? 'off';
  }

  /** Codes: EVENT_RATE_EXCEEDED, BYTE_RATE_EXCEEDED, SEND_DENIED, EVENT_DEFINITION_VIOLATED. */
  refusal({ meter, permissions }: Principal, event: IntakeEvent): IntakeRefusal | undefined {
    const exceeded = meter.send(event.bytes.length);
    if (exceeded !== undefined) return { code: exceeded, detail: '' };
    const decision = permissions.decide('send', event.room);
    if (decision === 'allow' && this.#validation === 'off') return undefined;
    if (decision === 'deny') return denied(event);
    const body = event.bytes.subarray(event.bodyAt);
    const name = eventNameOf(body);
    if (decision === 'by-event' && !permissions.allows('send', event.room, name)) return denied(event);
    return this.#validation === 'off' || name === undefined ? undefined : this.#misfit(name, body);
  }

  #misfit(name: string, body: Uint8Array): IntakeRefusal | undefined {
    const checked = this.#copy.definition(this.#workspaceId, name)?.check(body);
    if (checked === undefined || checked.ok) return undefined;
    if (this.#validation === 'warn') {
      this.#counts.unfit.warn += 1;
      return undefined;
    }
    this.#counts.unfit.reject += 1;
    const [first] = checked.faults;
    return { code: 'EVENT_DEFINITION_VIOLATED', detail: first === undefined ? name : `${first.pointer} ${first.detail}`, errors: checked.faults };
  }
}

function denied({ room }: IntakeEvent): IntakeRefusal {
  return { code: 'SEND_DENIED', detail: room };
}
