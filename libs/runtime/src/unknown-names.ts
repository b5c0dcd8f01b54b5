import type { ConfigProblem, Environment } from './load-config.ts';

const PREFIX = 'CARILLON_';
/** A name this many edits away, or a quarter of its length, is taken for a slip of the pen. */
const SLIP_MIN_EDITS = 3;

/**
 * Kubernetes puts these into every pod for each Service of the namespace, so a Service called `carillon-hub` yields CARILLON_HUB_PORT
 * and others (kubernetes.io, "Accessing the Service: environment variables").
 */
const SERVICE_LINK = /^(.+?)_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

/** A problem for every `CARILLON_*` name that is set but not known, with the nearest known name if one is near; Kubernetes' own names pass. */
export function unknownNames(env: Environment, known: ReadonlySet<string>): readonly ConfigProblem[] {
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && !known.has(name) && env[name] !== undefined && env[name] !== '' && !isServiceLink(name, env))
    .sort()
    .map((name) => ({ env: name, message: describe(name, known) }));
}

function describe(name: string, known: ReadonlySet<string>): string {
  const nearest = [...known]
    .map((candidate) => ({ candidate, edits: editDistance(name, candidate) }))
    .reduce((best, next) => (next.edits < best.edits ? next : best), { candidate: '', edits: Infinity });
  const near = nearest.edits <= Math.max(SLIP_MIN_EDITS, Math.floor(name.length / 4));
  return near ? `is not a setting of this program; did you mean ${nearest.candidate}?` : 'is not a setting of this program';
}

/** Only a name whose Service really is announced here: CARILLON_HUB_PORT alone stays the mistake it is. */
function isServiceLink(name: string, env: Environment): boolean {
  const service = SERVICE_LINK.exec(name)?.[1];
  return service !== undefined && env[`${service}_SERVICE_HOST`] !== undefined;
}

/** Levenshtein's distance, one row at a time. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, left] of [...from].entries()) {
    const next = [i + 1];
    for (const [j, right] of [...to].entries()) {
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (left === right ? 0 : 1)));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
