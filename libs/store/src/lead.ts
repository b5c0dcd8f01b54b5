import { createHash } from 'node:crypto';

import type pg from 'pg';

import { OwnConnection } from './own-connection.ts';

/**
 * The server lets go of the lock of a program that stands still or cannot be reached; a second after that one itself has given up, which
 * takes it a beat (1 s) without an answer (3 s).
 */
const SILENCE_MAX = '5s';
const TRY_LOCK = 'SELECT pg_try_advisory_lock($1, hashtext($2)) AS gained';
/** Our half of the two numbers of a lock, apart from what others lock in the same database. */
const LOCK_CLASS = createHash('sha256').update('carillon/lead').digest().readInt32BE(0);

export interface LeadListeners {
  /** This process leads, alone among all that ask for the same name on this database. */
  readonly gained: () => void;
  /** It does no longer: the connection broke, or it stopped. Called once for each `gained`. */
  readonly lost: () => void;
}

export interface Lead {
  /** Lets another lead; resolves when the lock is free. Idempotent. */
  stop(): Promise<void>;
}

/** Asks once a second for a lock that lives as long as its session; keeps it while the session answers. */
export function holdLead(name: string, { url, gained, lost, away }: LeadListeners & { readonly url: () => string; /** The database does not answer. */ readonly away: () => void }): Lead {
  let leads = false;
  let stopped = false;
  const ask = async (client: pg.Client): Promise<void> => {
    if (leads) return void (await client.query('SELECT 1'));
    const { rows } = await client.query<{ gained: boolean }>(TRY_LOCK, [LOCK_CLASS, name]);
    if (rows[0]?.gained !== true || stopped) return;
    leads = true;
    gained();
  };
  const end = (): void => {
    if (!leads) return;
    leads = false;
    lost();
  };
  const connection = new OwnConnection({
    url, name: 'carillon-lead', beat: ask,
    lost: () => {
      end();
      away();
    },
    established: async (client) => {
      await client.query(`SET idle_session_timeout = '${SILENCE_MAX}'`);
      await ask(client);
    },
  });
  return {
    stop: async () => {
      stopped = true;
      // Said before the lock is free: never two who both believe that they lead.
      end();
      await connection.stop();
    },
  };
}
