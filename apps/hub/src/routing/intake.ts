import { eventNameOf, possibleEventNames, type AccessCopy, type Principal } from '@carillon/access';
import type { ProblemDetail } from '@carillon/runtime';
import type { ValidationMode } from '@carillon/schemas';
import type { ErrorCode } from '@carillon/wire';

import type { HubCounts } from '../counts.ts';

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

interface Misfit {
  readonly name: string;
  readonly faults: readonly ProblemDetail[];
}

/** Each name that an event may have costs a look at its body: one by whoever knows what it does has one, or a `key` and a `type`. */
const NAMES_MAX = 4;
const TOO_MANY_NAMES: Misfit = { name: '', faults: [{ pointer: '', detail: `has more than ${NAMES_MAX} names` }] };

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
    return this.#validation === 'off' ? undefined : this.#misfit(name === undefined ? possibleEventNames(body) : [name], body);
  }

  #firstMisfit(names: readonly string[], body: Uint8Array): Misfit | undefined {
    for (const name of names) {
      const checked = this.#copy.definition(this.#workspaceId, name)?.check(body);
      if (checked?.ok === false) return { name, faults: checked.faults };
    }
    return undefined;
  }

  /** A name that only some receivers read must not be a way around its definition. */
  #misfit(names: readonly string[], body: Uint8Array): IntakeRefusal | undefined {
    const misfit = names.length > NAMES_MAX ? TOO_MANY_NAMES : this.#firstMisfit(names, body);
    if (misfit === undefined) return undefined;
    const { name, faults } = misfit;
    if (this.#validation === 'warn') {
      this.#counts.unfit.warn += 1;
      return undefined;
    }
    this.#counts.unfit.reject += 1;
    const [first] = faults;
    return { code: 'EVENT_DEFINITION_VIOLATED', detail: first === undefined ? name : `${first.pointer} ${first.detail}`, errors: faults };
  }
}

function denied({ room }: IntakeEvent): IntakeRefusal {
  return { code: 'SEND_DENIED', detail: room };
}
