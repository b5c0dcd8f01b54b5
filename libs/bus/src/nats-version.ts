// From 2.10: republish and filter_subjects (2.9 refuses both), and the fixes that the clustered default relies on.
const OLDEST_SUPPORTED = [2, 10] as const;

/** A sentence about what a server of this version is missing, if it is older than what Carillon supports. */
export function missingFrom(version: string): string | undefined {
  const match = /^v?(\d+)\.(\d+)/.exec(version);
  if (match === null) return `The NATS server does not tell its version (${JSON.stringify(version)}); at least 2.10 is needed.`;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  if (major > OLDEST_SUPPORTED[0] || (major === OLDEST_SUPPORTED[0] && minor >= OLDEST_SUPPORTED[1])) return undefined;
  return (
    `The NATS server is ${version}, at least 2.10 is needed: this one refuses filter_subjects, metadata, compression and pause, ` +
    'and silently ignores per-message and key time-to-live, counters and schedules.'
  );
}
