import { randomBytes } from 'node:crypto';

import { createEventIds } from '@carillon/wire';

/** ws workspace · us user · kd event definition · rp room policy · dv device · au audit record · ss session. */
export type IdPrefix = 'ws' | 'us' | 'kd' | 'rp' | 'dv' | 'au' | 'ss';

const ulid = createEventIds({ now: Date.now, random40: () => randomBytes(5).readUIntBE(0, 5) });

/** A new id, `<prefix>_<ULID in lower case>`; those of one process sort in the order they were given. */
export function newId(prefix: IdPrefix): string {
  return `${prefix}_${ulid().toLowerCase()}`;
}
