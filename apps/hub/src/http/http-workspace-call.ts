import type { Principal } from '@carillon/access';
import type { ProblemDetail } from '@carillon/runtime';
import type { ErrorCode } from '@carillon/wire';

import type { Workspace } from '../workspace.ts';

/** A request to a workspace by somebody who was let in, read. */
export interface WorkspaceCall {
  readonly workspace: Workspace;
  readonly principal: Principal;
  /** Pieces of the path that the route left open. */
  readonly args: readonly string[];
  /** Parameters of the query that the route asks for. */
  readonly query: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

/** What it is answered; `json` undefined: it is done, and there is nothing to say. */
export type WorkspaceReply = { readonly ok: true; readonly json: string | undefined } | WorkspaceRefusal;

export interface WorkspaceRefusal {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly detail?: string;
  readonly errors?: readonly ProblemDetail[];
}

/** Rejects with the log's error. */
export type AnswerWorkspaceCall = (call: WorkspaceCall) => Promise<WorkspaceReply>;
