import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { generatedFiles } from './generated-files.ts';
import { differingFiles, writeFiles } from './write-or-check.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
const files = generatedFiles();
if (values.check) {
  const differing = differingFiles(ROOT, files);
  for (const path of differing) process.stderr.write(`${path} is not what the code says: run npm run docs\n`);
  process.exitCode = differing.length === 0 ? 0 : 1;
} else {
  const written = writeFiles(ROOT, files);
  process.stdout.write(written.length === 0 ? 'Every generated file is as it should be.\n' : written.map((path) => `wrote ${path}\n`).join(''));
}
