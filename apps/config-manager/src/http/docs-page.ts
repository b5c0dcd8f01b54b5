import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { Router, type Response } from 'express';

/** The script and style of Swagger UI, from its package; nothing is fetched from anywhere else. */
const FILES: Readonly<Record<string, string>> = { 'swagger-ui-bundle.js': 'text/javascript; charset=utf-8', 'swagger-ui.css': 'text/css; charset=utf-8' };

/** It draws its icons from `data:` addresses in its style sheet. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Carillon config-manager</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`;

/** No validator: it would send the document to another host. A session stays in this page's memory alone. */
const START = `SwaggerUIBundle({ url: 'openapi.json', dom_id: '#docs', validatorUrl: null, deepLinking: true, persistAuthorization: false, queryConfigEnabled: false });
`;

/** `/openapi.json`, and `/docs`, a page that shows it, to which `/` leads. `document` is asked once, when somebody first wants it. */
export function documentRoutes(document: () => object): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const folder = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const files = new Map<string, Buffer>();
  let json: string | undefined;
  const send = (res: Response, { type, body, policy }: { readonly type: string; readonly body: string | Buffer; readonly policy?: string }): void => {
    if (policy !== undefined) res.setHeader('content-security-policy', policy);
    res.writeHead(200, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
    res.end(body);
  };
  router.get('/openapi.json', (_req, res) => send(res, { type: 'application/json', body: (json ??= JSON.stringify(document())) }));
  router.get('/', (_req, res) => res.redirect(302, '/docs'));
  router.get('/docs', (_req, res) => send(res, { type: 'text/html; charset=utf-8', body: PAGE, policy: POLICY }));
  router.get('/docs/start.js', (_req, res) => send(res, { type: 'text/javascript; charset=utf-8', body: START }));
  for (const [name, type] of Object.entries(FILES)) {
    router.get(`/docs/${name}`, (_req, res) => {
      const body = files.get(name) ?? readFileSync(join(folder, name));
      files.set(name, body);
      send(res, { type, body });
    });
  }
  return router;
}
