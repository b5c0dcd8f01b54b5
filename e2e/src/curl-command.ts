/** One call as a printed `curl` command describes it: the options that Carillon prints, and no others. */
export interface CurlCall {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

const WORD = /'([^']*)'|"([^"]*)"|(\S+)/g;

/** Reads a command of one line; throws for an option that it does not know. */
export function readCurl(command: string): CurlCall {
  const words = [...command.trim().matchAll(WORD)].map(([, single, double, bare]) => single ?? double ?? bare ?? '');
  const headers: Record<string, string> = {};
  let url: string | undefined;
  let body: string | undefined;
  for (let at = 1; at < words.length; at += 1) {
    const word = words[at] ?? '';
    switch (word) {
      case '-N':
        break;
      case '-H': {
        const [name = '', value = ''] = (words[(at += 1)] ?? '').split(/:\s*/, 2);
        headers[name] = value;
        break;
      }
      case '-d':
        body = words[(at += 1)];
        break;
      default:
        if (word.startsWith('-') || url !== undefined) throw new Error(`cannot read ${word} in: ${command}`);
        url = word;
    }
  }
  if (words[0] !== 'curl' || url === undefined) throw new Error(`not a curl command: ${command}`);
  return { url, method: body === undefined ? 'GET' : 'POST', headers, body };
}
