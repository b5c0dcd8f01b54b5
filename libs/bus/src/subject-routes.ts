/** Who gets the events of a subject. Exact subjects cost one look-up, those with wildcards one comparison each. */
export class SubjectRoutes<Route extends { readonly queue?: string }> {
  readonly #exact = new Map<string, Set<Route>>();
  readonly #wild = new Map<string, { readonly tokens: readonly string[]; readonly routes: Set<Route> }>();
  /** Turns of the queue groups. */
  #turn = 0;

  add(subject: string, route: Route): void {
    if (isExact(subject)) {
      const routes = this.#exact.get(subject);
      if (routes === undefined) this.#exact.set(subject, new Set([route]));
      else routes.add(route);
      return;
    }
    const wild = this.#wild.get(subject);
    if (wild === undefined) this.#wild.set(subject, { tokens: subject.split('.'), routes: new Set([route]) });
    else wild.routes.add(route);
  }

  remove(subject: string, route: Route): void {
    const routes = this.#exact.get(subject) ?? this.#wild.get(subject)?.routes;
    routes?.delete(route);
    if (routes?.size !== 0) return;
    this.#exact.delete(subject);
    this.#wild.delete(subject);
  }

  /** Every `eligible` route without a queue, and one of each queue group (a name is one group, whatever its members' subjects). */
  match(subject: string, eligible: (route: Route) => boolean): readonly Route[] {
    const matched: Route[] = [];
    for (const route of this.#exact.get(subject) ?? []) if (eligible(route)) matched.push(route);
    if (this.#wild.size > 0) {
      const tokens = subject.split('.');
      for (const wild of this.#wild.values()) {
        if (!matchesTokens(wild.tokens, tokens)) continue;
        for (const route of wild.routes) if (eligible(route)) matched.push(route);
      }
    }
    return matched.some((route) => route.queue !== undefined) ? this.#oneOfEachQueue(matched) : matched;
  }

  #oneOfEachQueue(matched: readonly Route[]): readonly Route[] {
    const chosen: Route[] = [];
    const groups = new Map<string, Route[]>();
    for (const route of matched) {
      const members = route.queue === undefined ? chosen : groups.get(route.queue);
      if (members !== undefined) members.push(route);
      else if (route.queue !== undefined) groups.set(route.queue, [route]);
    }
    this.#turn = (this.#turn + 1) % Number.MAX_SAFE_INTEGER;
    for (const members of groups.values()) chosen.push(...members.slice(this.#turn % members.length).slice(0, 1));
    return chosen;
  }
}

const isExact = (subject: string): boolean => !subject.split('.').some((token) => token === '*' || token === '>');

/** Whether a subject of these tokens is one that the pattern's `*` (one token) and final `>` (one or more) stand for. */
export function matchesTokens(pattern: readonly string[], tokens: readonly string[]): boolean {
  for (const [index, wanted] of pattern.entries()) {
    if (wanted === '>' && index === pattern.length - 1) return tokens.length > index;
    if (index >= tokens.length || (wanted !== '*' && wanted !== tokens[index])) return false;
  }
  return tokens.length === pattern.length;
}
