import { fileURLToPath } from 'node:url';

import { defineConfig } from 'prisma/config';

// Every command of Prisma's asks a native program about schemas and databases, and would download it. Ours does the same work with
// the WASM build of that program which npm has installed, so that nothing is fetched; nor does anything call home.
process.env['PRISMA_SCHEMA_ENGINE_BINARY'] ??= fileURLToPath(new URL('./prisma/schema-engine-shim.mjs', import.meta.url));
process.env['CHECKPOINT_DISABLE'] ??= '1';

const url = process.env['CARILLON_DATABASE_URL'];

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
  ...(url === undefined ? {} : { datasource: { url } }),
});
