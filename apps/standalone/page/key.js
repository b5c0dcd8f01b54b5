// Which access key the page uses. It stays in this tab (sessionStorage) and is shown nowhere. Requests carry it as a
// header; the tail, for which browsers send none, as the first segments of its path.

const KEY = 'carillon-key';
const ROOMS = 'carillon-rooms';
/** Refusals that another key, or other rooms, could change. */
const ASKING = /^(?:ACCESS_|RECEIVE_DENIED|CONNECTION_LIMIT)/;

const form = document.getElementById('key');

const stored = (name) => sessionStorage.getItem(name) ?? '';

export function headers() {
  return stored(KEY) === '' ? {} : { authorization: `Bearer ${stored(KEY)}` };
}

/** Where the tail of the chosen rooms is. */
export function tailPath() {
  const rooms = encodeURIComponent(stored(ROOMS) || '*');
  return `${stored(KEY) === '' ? '' : `/k/${encodeURIComponent(stored(KEY))}`}/rooms/${rooms}/events`;
}

/** Asks for a key when a refusal calls for one; says whether it did. */
export function asksForKey(problem) {
  if (!ASKING.test(problem?.code ?? '')) return false;
  document.getElementById('key-why').textContent = `${problem.title}.`;
  form.hidden = false;
  return true;
}

/** Why the hub refuses the tail, as a problem; undefined when it does not. */
export async function tailRefusal() {
  const stop = new AbortController();
  try {
    const answer = await fetch(tailPath(), { signal: stop.signal });
    return answer.ok ? undefined : await answer.json();
  } catch {
    return undefined;
  } finally {
    stop.abort();
  }
}

/** Calls `use` after each key that is given. */
export function onKey(use) {
  form.onsubmit = (submission) => {
    submission.preventDefault();
    const { key, rooms } = Object.fromEntries(new FormData(form));
    sessionStorage.setItem(KEY, key.trim());
    sessionStorage.setItem(ROOMS, rooms.trim());
    form.hidden = true;
    use();
  };
}
