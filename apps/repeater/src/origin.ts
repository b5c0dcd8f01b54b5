/**
 * A page in somebody's browser may reach a repeater that the page's author cannot; browsers say which site the page
 * is of. Requests without `Origin` are not from pages. `*` in the list allows every page.
 */
export interface OriginHeaders {
  readonly origin?: string | undefined;
  readonly host?: string | undefined;
}

export function originAllowed({ origin, host }: OriginHeaders, allowedOrigins: readonly string[]): boolean {
  if (origin === undefined || allowedOrigins.includes(origin) || allowedOrigins.includes('*')) return true;
  if (host === undefined || !URL.canParse(origin)) return false;
  const page = new URL(origin);
  // The same default port on both sides, as the page's scheme has it.
  return URL.canParse(`${page.protocol}//${host}`) && page.host !== '' && page.host === new URL(`${page.protocol}//${host}`).host;
}
