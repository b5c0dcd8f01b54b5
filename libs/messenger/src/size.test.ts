import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

/** What a page pays for the messenger at most. */
const BROWSER_MAX_BYTES = 22 * 1_024;

describe('the browser bundle', () => {
  it('is small and has nothing of Node in it', async () => {
    const { outputFiles, metafile } = await build({
      entryPoints: [fileURLToPath(new URL('./index.ts', import.meta.url))],
      bundle: true,
      conditions: ['browser', '@carillon/source'],
      format: 'esm',
      metafile: true,
      minify: true,
      platform: 'browser',
      write: false,
    });
    const code = outputFiles[0]?.text ?? '';
    const gzippedBytes = gzipSync(code).length;
    process.stdout.write(`messenger in the browser: ${code.length} bytes minified, ${gzippedBytes} gzipped\n`);
    expect(gzippedBytes).toBeLessThan(BROWSER_MAX_BYTES);
    const inputs = Object.keys(metafile.inputs);
    expect(inputs.some((path) => path.endsWith('src/transport-browser.ts'))).toBe(true);
    expect(inputs.filter((path) => path.includes('node_modules/') || path.endsWith('transport-node.ts') || path.includes('.test.'))).toEqual([]);
    expect(Object.values(metafile.outputs).flatMap((output) => output.imports)).toEqual([]);
    expect(code).not.toMatch(/["']node:|["']ws["']/);
  });
});
