import { DROP_REASONS, ERRORS, mayComeBack, type ErrorEntry } from '@carillon/wire';

import { code, markdownTable } from './markdown-table.ts';

const INTRODUCTION = `# Error and close codes

Match the code, never the text: a code is never renamed, titles may change. Over HTTP a refusal is \`application/problem+json\` (RFC 9457) with \`type\`, \`title\`, \`status\`, \`code\`, and where there is more to say \`detail\` and \`errors\`. On a WebSocket a refusal that the connection survives is an error frame; one that ends it is a close frame whose reason is the code, with \` retry-after-ms=N\` behind it when the peer should come back no sooner. In metrics the code is a label.

"retry" says whether the same thing, tried again later, may succeed.
`;

const RANGES = [
  ['1000–1015', 'as RFC 6455 and IANA have them', 'by the number, see below'],
  ['4000–4499', 'ours', 'yes'],
  ['4500–4999', 'ours', 'no, not until something was changed'],
];

const entries = Object.entries<ErrorEntry>(ERRORS);

/** docs/errors.md: the catalogue, the numbers connections are closed with, and why deliveries do not happen. */
export function errorsPage(): string {
  const rows = entries.map(([name, { kind, http, close, retryable, title }]) => [code(name), kind, `${http}`, close === undefined ? '' : `${close}`, retryable ? 'yes' : 'no', title]);
  return [
    INTRODUCTION,
    `## Codes\n\n${markdownTable(['code', 'kind', 'HTTP', 'close', 'retry', 'title'], rows)}`,
    `## Close numbers\n\n${markdownTable(['range', 'meaning', 'come back'], RANGES)}`,
    `The numbers in use:\n\n${markdownTable(['number', 'codes', 'come back'], closeRows())}`,
    `## Why a delivery did not happen\n\nThe \`reason\` label of the drop counters.\n\n${markdownTable(['reason', 'meaning'], Object.entries(DROP_REASONS).map(([reason, why]) => [code(reason), why]))}`,
  ].join('\n');
}

function closeRows(): string[][] {
  const codesOf = new Map<number, string[]>();
  for (const [name, { close }] of entries) if (close !== undefined) codesOf.set(close, [...(codesOf.get(close) ?? []), name]);
  return [...codesOf]
    .sort(([left], [right]) => left - right)
    .map(([close, names]) => [`${close}`, names.map(code).join(', '), mayComeBack(close) ? 'yes' : 'no']);
}
