import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** The hub's front page: a few small files read once at start, with a policy that lets them load nothing from elsewhere. */
const FOLDER = new URL('../page/', import.meta.url);
const FILES: Readonly<Record<string, { readonly file: string; readonly type: string }>> = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/page.css': { file: 'page.css', type: 'text/css; charset=utf-8' },
  '/page.js': { file: 'page.js', type: 'text/javascript; charset=utf-8' },
  '/key.js': { file: 'key.js', type: 'text/javascript; charset=utf-8' },
  '/pattern.js': { file: 'pattern.js', type: 'text/javascript; charset=utf-8' },
};
const HEADERS = {
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
};

export function createPage({ demo }: { readonly demo: boolean }): (req: IncomingMessage, res: ServerResponse, path: string) => boolean {
  const answers = new Map(Object.entries(FILES).map(([path, { file, type }]) => [path, { type, body: readFileSync(new URL(file, FOLDER)) }]));
  answers.set('/page.json', { type: 'application/json', body: Buffer.from(JSON.stringify({ demo })) });
  return (req, res, path) => {
    const answer = answers.get(path);
    if (answer === undefined || (req.method !== 'GET' && req.method !== 'HEAD')) return false;
    res.writeHead(200, { ...HEADERS, 'content-type': answer.type, 'content-length': answer.body.length });
    res.end(req.method === 'HEAD' ? undefined : answer.body);
    return true;
  };
}
