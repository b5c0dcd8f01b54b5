import { parseJsonBody, type DefinitionEntry } from '@carillon/schemas';
import type { ErrorObject, ValidateFunction } from 'ajv/dist/2020.js';

import type { AccessLog } from './access-log.ts';
import { compileDefinition } from './compile-definition.ts';
import { definitionFaults, type DefinitionFault } from './definition-faults.ts';
import { StepsExceeded, type StepBudget } from './linear-pattern.ts';

/** Whether an event fits; if not, where (JSON pointers into its body) and why, 20 at most. */
export type DefinitionCheck = { readonly ok: true } | { readonly ok: false; readonly faults: readonly DefinitionFault[] };

const FAULTS_MAX = 20;
const DETAIL_MAX_CHARACTERS = 200;
/** What the regular expressions of a schema may cost together over one event: about 50 ms at the worst; an ordinary one takes hundreds. */
const PATTERN_STEPS_MAX = 1_000_000;

/** Checks events against one revision of a definition, which is compiled when the first comes. */
export class EventDefinitionCheck {
  readonly #entry: DefinitionEntry;
  readonly #log: AccessLog;
  readonly #budget: StepBudget = { steps: 0 };
  #validate: ValidateFunction | 'unfit' | undefined;

  constructor(entry: DefinitionEntry, log: AccessLog = () => undefined) {
    this.#entry = entry;
    this.#log = log;
  }

  /**
   * Checks the JSON body of an event. Never throws. With a schema that is unfit every event fits, and the log says so once:
   * config-manager refuses such schemas, and a hub that cannot judge must not stop a room's events.
   */
  check(body: Uint8Array): DefinitionCheck {
    this.#validate ??= this.#compile();
    if (this.#validate === 'unfit') return { ok: true };
    const parsed = parseJsonBody(body);
    if (!parsed.ok) return { ok: false, faults: [{ pointer: '', detail: `${parsed.code}: ${parsed.detail}` }] };
    this.#budget.steps = PATTERN_STEPS_MAX;
    try {
      if (this.#validate(parsed.value)) return { ok: true };
      return { ok: false, faults: (this.#validate.errors ?? []).slice(0, FAULTS_MAX).map(faultOf) };
    } catch (error) {
      if (error instanceof StepsExceeded) return { ok: false, faults: [{ pointer: '', detail: 'has texts that are too long for the patterns of the definition' }] };
      return this.#giveUp(error, 'An event definition failed on an event and checks nothing from now on');
    }
  }

  #compile(): ValidateFunction | 'unfit' {
    const [fault] = definitionFaults(this.#entry.schema);
    if (fault === undefined) return compileDefinition(this.#entry.schema, this.#budget);
    this.#report('An event definition is unfit and checks nothing', { pointer: fault.pointer, detail: fault.detail });
    return 'unfit';
  }

  #giveUp(error: unknown, text: string): DefinitionCheck {
    this.#validate = 'unfit';
    this.#report(text, { error });
    return { ok: true };
  }

  #report(text: string, more: Readonly<Record<string, unknown>>): void {
    const { workspaceId, id, name, version } = this.#entry;
    this.#log({ level: 'error', text, fields: { workspaceId, definition: id, name, version, ...more } });
  }
}

function faultOf({ instancePath, message = 'does not fit', params }: ErrorObject): DefinitionFault {
  const named: unknown = (params as Record<string, unknown>)['additionalProperty'] ?? (params as Record<string, unknown>)['unevaluatedProperty'];
  const detail = typeof named === 'string' ? `${message}: ${named}` : message;
  return { pointer: instancePath, detail: detail.slice(0, DETAIL_MAX_CHARACTERS) };
}
