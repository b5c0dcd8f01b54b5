import { CarillonError } from '@carillon/wire';

const INSTEAD = 'or set CARILLON_DATABASE_URL to a PostgreSQL server of yours';

/** Why the embedded PostgreSQL does not run and what to do: `STORE_UNAVAILABLE` with a sentence for whoever starts the program. */
export function embeddedFault(what: string, remedy: string, cause?: unknown): CarillonError {
  return new CarillonError('STORE_UNAVAILABLE', `${what}. ${remedy}, ${INSTEAD}.`, cause === undefined ? undefined : { cause });
}

/** What PostgreSQL's own programs printed when they gave up, as a fault; `log` is the file that holds the rest. */
export function faultOfOutput(output: string, { dir, log }: { readonly dir: string; readonly log: string }): CarillonError {
  if (/No space left on device|could not extend file|Disk quota exceeded/i.test(output)) return embeddedFault(`There is no space left for the embedded PostgreSQL in ${dir}`, 'Make room there');
  if (/Permission denied|Operation not permitted/i.test(output)) return embeddedFault(`The embedded PostgreSQL may not use ${dir}`, 'Let the user that it runs as reach and own that directory (nobody, when this program is root), run this program as another user');
  if (/could not (create shared memory|map anonymous shared memory|resize shared memory)/i.test(output)) return embeddedFault('The embedded PostgreSQL gets no shared memory', 'Give this machine more memory');
  return embeddedFault(`The embedded PostgreSQL does not start: ${lastWords(output)}`, `See ${log}`);
}

/** The lines that matter, without the time and process id before them; bounded. */
function lastWords(output: string): string {
  const lines = output.split('\n').map((line) => line.replace(/^.*?(?=(FATAL|PANIC|ERROR|initdb: error|HINT):)/, '').trim()).filter((line) => line !== '');
  const grave = lines.filter((line) => /^(FATAL|PANIC|ERROR|initdb: error)/.test(line));
  return (grave.at(-1) ?? lines.at(-1) ?? 'it ended without a word').slice(0, 300);
}
