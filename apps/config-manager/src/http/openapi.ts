import { PROBLEM_MEDIA_TYPE } from '@carillon/runtime';
import { z } from 'zod';
import { createDocument, type oas31, type ZodObjectInput, type ZodOpenApiOperationObject, type ZodOpenApiOverride, type ZodOpenApiPathsObject } from 'zod-openapi';

import { API_PATH } from './answer-route.ts';
import type { Route } from './route.ts';

const problem = z
  .object({
    type: z.string().meta({ examples: ['urn:carillon:error:FORBIDDEN'] }), title: z.string(), status: z.int(), code: z.string().meta({ description: 'Of the error catalogue; never renamed' }),
    detail: z.string().optional(), instance: z.string().optional().meta({ description: 'Names this occurrence; the log says more under it' }),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional().meta({ description: 'What is wrong where, by JSON pointer into the body; /query/… and /path/… for what stands in the address' }),
  })
  .meta({ id: 'Problem', description: 'RFC 9457' });

const header = (description: string, name: string): oas31.ParameterObject => ({ in: 'header', name, required: false, description, schema: { type: 'string' } });

/** The OpenAPI 3.1 document of a list of routes. */
export function openApiDocument(routes: readonly Route[], { version }: { readonly version: string }): oas31.OpenAPIObject {
  const paths: ZodOpenApiPathsObject = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:([A-Za-z]+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return createDocument({
    openapi: '3.1.1',
    info: { title: 'Carillon config-manager', version, description: 'Workspaces, keys, permissions, event definitions, rooms, devices: who may do what.' },
    servers: [{ url: API_PATH }],
    paths,
    components: {
      securitySchemes: {
        session: { type: 'http', scheme: 'bearer', description: 'A session (cs_…) or an account key (ck_…)' },
        accountKey: { type: 'apiKey', in: 'header', name: 'X-Access-Key', description: 'An account key (ck_…)' },
      },
      responses: { Problem: { description: 'Refused, or failed', content: { [PROBLEM_MEDIA_TYPE]: { schema: problem } } } },
    },
  }, { override: withoutShorthands });
}

/** A shorthand that is read into another form (`"ITB-*"` for `{"room": "ITB-*"}`) is taken and never given: of a union in an answer the other forms remain. */
function withoutShorthands({ zodSchema, jsonSchema, io }: Parameters<ZodOpenApiOverride>[0]): void {
  if (io !== 'output') return;
  const { def } = zodSchema._zod;
  if (def.type === 'pipe' && def.out._zod.def.type === 'transform') jsonSchema.not = {};
  if (jsonSchema.anyOf !== undefined) jsonSchema.anyOf = jsonSchema.anyOf.filter((form) => !('not' in form));
}

function operation(route: Route): ZodOpenApiOperationObject {
  const { name, summary, tag, access, params, query, body, answer, versioned, creates, method } = route;
  const { status, schema, description } = answer;
  const security = access === 'public' ? [] : access === 'person' || access === 'administrator' ? [{ session: [] }] : [{ session: [] }, { accountKey: [] }];
  const parameters = [
    ...(versioned === true && method !== 'GET' && method !== 'POST' ? [header('The version that must be the current one, as its ETag', 'If-Match')] : []),
    ...(creates === true ? [header('16 to 255 printable characters of your choice; a repeated request is not done again', 'Idempotency-Key')] : []),
  ];
  const headers = { ...(versioned === true ? { ETag: { description: 'The version', schema: { type: 'string' as const } } } : {}), ...(status === 201 || status === 302 ? { Location: { description: 'Where it is', schema: { type: 'string' as const } } } : {}) };
  return {
    operationId: name, summary, tags: [tag], security,
    ...(parameters.length === 0 ? {} : { parameters }),
    requestParams: {
      // A path's parameters are documented even where the route has no schema of its own for them.
      ...(params === undefined ? pathParameters(route.path) : { path: params as unknown as ZodObjectInput }),
      ...(query === undefined ? {} : { query: query as unknown as ZodObjectInput }),
    },
    ...(body === undefined ? {} : { requestBody: { required: !body.safeParse({}).success, content: { 'application/json': { schema: body } } } }),
    responses: {
      [`${status}` as '200']: { description, ...(Object.keys(headers).length === 0 ? {} : { headers }), ...(schema === undefined ? {} : { content: { 'application/json': { schema } } }) },
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

function pathParameters(path: string): { readonly path?: ZodObjectInput } {
  const names = [...path.matchAll(/:([A-Za-z]+)/g)].map(([, name]) => name ?? '');
  return names.length === 0 ? {} : { path: z.object(Object.fromEntries(names.map((name) => [name, z.string()]))) };
}
