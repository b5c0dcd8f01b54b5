// Runs npm scripts at the same time and fails when one does: `node tools/side-by-side.mjs build lint`. On two cores the
// compiler and the linter, which use one each, take as long together as one of them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const codes = await Promise.all(process.argv.slice(2).map(async (script) => {
  const child = spawn('npm', ['run', '--silent', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => output.push(piece));
  const [code] = await once(child, 'close');
  process.stdout.write(`${script}: ${code === 0 ? 'ok' : `failed (${code})`}\n${code === 0 ? '' : Buffer.concat(output).toString()}`);
  return code;
}));
process.exitCode = codes.every((code) => code === 0) ? 0 : 1;
