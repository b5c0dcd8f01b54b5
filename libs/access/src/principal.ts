import { ALL_PERMISSIONS, type KeyKind, type UsageLimits } from '@carillon/schemas';

import type { AccessCopy } from './access-copy.ts';
import { PermissionSet } from './permission-set.ts';
import { UsageCount, UsageMeter } from './usage-meter.ts';

/** `revoked` is for good: a key that is made again is another principal. `expired` ends when the key's time is put off. */
export type PrincipalStatus = 'valid' | 'revoked' | 'expired';

/** What a principal shows; whoever made it changes it in place. */
export interface PrincipalState {
  permissions: PermissionSet;
  limits: UsageLimits;
  status: PrincipalStatus;
  /** SHA-256 hashes of the secrets in force; undefined where none is asked for. */
  secrets: ReadonlySet<string> | undefined;
}

/**
 * Who is behind a connection or a request: an access key, or nobody in particular where none is asked for. There is one
 * object a key for the life of its copy, and what it shows changes in place: keep the object, not what it showed. Its
 * `permissions` are another object after every change of them, so that a decision may be kept beside the set it came from.
 */
export class Principal {
  /** Undefined where no key was presented. */
  readonly keyId: string | undefined;
  readonly workspaceId: string;
  readonly kind: KeyKind;
  readonly meter: UsageMeter;
  readonly #state: Readonly<PrincipalState>;

  constructor(options: { readonly keyId: string | undefined; readonly workspaceId: string; readonly kind: KeyKind; readonly meter: UsageMeter; readonly state: Readonly<PrincipalState> }) {
    this.keyId = options.keyId;
    this.workspaceId = options.workspaceId;
    this.kind = options.kind;
    this.meter = options.meter;
    this.#state = options.state;
  }

  get permissions(): PermissionSet {
    return this.#state.permissions;
  }

  get limits(): UsageLimits {
    return this.#state.limits;
  }

  get status(): PrincipalStatus {
    return this.#state.status;
  }

  /** Whether a secret that was good once (`Authentication.secret`) still is: after a rotation the one before ends. */
  accepts(secret: string): boolean {
    return this.#state.secrets?.has(secret) ?? true;
  }
}

/** Stands for whoever came without a key where none is asked for: everything is allowed, the workspace's limits hold. Always valid. */
export function openPrincipal(workspaceId: string, kind: KeyKind, copy: AccessCopy): Principal {
  const shared = copy.usage(workspaceId);
  const meter = new UsageMeter({ own: new UsageCount({}, shared.now), shared });
  return new Principal({ keyId: undefined, workspaceId, kind, meter, state: { permissions: new PermissionSet(ALL_PERMISSIONS), limits: {}, status: 'valid', secrets: undefined } });
}
