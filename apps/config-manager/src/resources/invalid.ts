import type { ProblemDetail } from '@carillon/runtime';

import { Refusal } from '../http/refusal.ts';

/** Refuses fields that are well-formed and still not acceptable; pointers are JSON pointers into the body. */
export function refuseFields(errors: readonly ProblemDetail[]): never {
  throw new Refusal('RESOURCE_INVALID', undefined, { errors });
}

export function refuseField(pointer: string, detail: string): never {
  refuseFields([{ pointer, detail }]);
}
