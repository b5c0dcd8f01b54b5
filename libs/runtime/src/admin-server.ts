import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import type { Health } from './health.ts';
import { sendRefusal } from './http-refusal.ts';
import type { MetricDefinition, Metrics } from './metrics.ts';

/** What the admin server shows. */
export interface AdminSources {
  readonly health: Health;
  readonly metrics: Metrics;
}

/** The metrics of the admin server itself. */
export const adminMetricDefinitions = {
  refused: {
    name: 'carillon_admin_connections_refused_total', kind: 'counter',
    help: 'Connections to the admin port cut because 64 were already open.',
  },
} as const satisfies Record<string, MetricDefinition>;

/** Probes, a scraper or two, and a person: more is a leak or an attack. */
const MAX_CONNECTIONS = 64;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** The version of the text format that Prometheus asks for when nothing newer is offered. */
const METRICS_MEDIA_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * The HTTP server for probes and scrapes, not yet listening: `/livez`, `/readyz` (503 when not ready), `/metrics`; GET and HEAD alone.
 * It asks for no key: on which address it may be reached is the app's choice.
 */
export function createAdminServer(sources: AdminSources): Server {
  const server = createServer({ headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => answer(sources, request, response));
  let refused = 0;
  server.maxConnections = MAX_CONNECTIONS;
  server.on('drop', () => {
    refused += 1;
  });
  sources.metrics.observe(adminMetricDefinitions.refused, () => refused);
  return server;
}

function answer({ health, metrics }: AdminSources, request: IncomingMessage, response: ServerResponse): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    sendRefusal(response, 'METHOD_NOT_ALLOWED', { detail: 'only GET and HEAD' });
    return;
  }
  switch (request.url?.split('?', 1)[0]) {
    case '/livez':
      send(response, { status: 200, type: 'application/json', body: JSON.stringify({ status: 'live' }) });
      return;
    case '/readyz': {
      const { ready, checks } = health.readiness();
      send(response, { status: ready ? 200 : 503, type: 'application/json', body: JSON.stringify({ status: ready ? 'ready' : 'not ready', checks }) });
      return;
    }
    case '/metrics':
      send(response, { status: 200, type: METRICS_MEDIA_TYPE, body: metrics.render() });
      return;
    default:
      sendRefusal(response, 'ROUTE_NOT_FOUND', { detail: 'this port has /livez, /readyz and /metrics' });
  }
}

function send(response: ServerResponse, answer: { readonly status: number; readonly type: string; readonly body: string }): void {
  response.writeHead(answer.status, { 'content-type': answer.type, 'content-length': Buffer.byteLength(answer.body), 'cache-control': 'no-store' });
  response.end(answer.body);
}
