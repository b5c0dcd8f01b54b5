/** What a process logs in to NATS with, apart from the addresses. */
export interface NatsLogin {
  /** The URLs without what they log in with, which must not reach logs. */
  readonly servers: readonly string[];
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
}

/** Takes `user:password@` or `token@` out of NATS URLs, as NATS's own tools read them; the first that has one is for all. */
export function natsLogin(urls: readonly string[]): NatsLogin {
  const parsed = urls.map((url) => new URL(url));
  const named = parsed.find(({ username }) => username !== '');
  const servers = parsed.map(({ protocol, host }) => `${protocol}//${host}`);
  if (named === undefined) return { servers };
  const user = decodeURIComponent(named.username);
  return named.password === '' ? { servers, token: user } : { servers, user, pass: decodeURIComponent(named.password) };
}
