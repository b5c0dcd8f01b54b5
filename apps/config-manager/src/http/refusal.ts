import type { ProblemDetail } from '@carillon/runtime';
import { CarillonError, type ErrorCode } from '@carillon/wire';

export interface RefusalMore {
  /** What is wrong where, by JSON pointer into the body; `/query/…` and `/path/…` for what stands in the address. */
  readonly errors?: readonly ProblemDetail[];
  /** When to come back: becomes `Retry-After`, in whole seconds, rounded up. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** A refusal of a request, with what an answer over HTTP says besides code and detail. */
export class Refusal extends CarillonError {
  readonly errors: readonly ProblemDetail[];
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, detail?: string, { errors = [], retryAfterMs, cause }: RefusalMore = {}) {
    super(code, detail, cause === undefined ? undefined : { cause });
    this.name = 'Refusal';
    this.errors = errors;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The caller may not do this: written into the audit log, of the workspace when there is one. RESOURCE_NOT_FOUND hides what is there. */
export class Denial extends Refusal {
  readonly workspaceId: string | null;

  constructor(code: 'FORBIDDEN' | 'RESOURCE_NOT_FOUND', { detail, workspaceId }: { readonly detail?: string; readonly workspaceId: string | null }) {
    super(code, detail);
    this.name = 'Denial';
    this.workspaceId = workspaceId;
  }
}
