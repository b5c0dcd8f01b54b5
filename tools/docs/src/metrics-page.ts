import { configManagerMetricDefinitions } from '@carillon/config-manager';
import { hubMetricDefinitions } from '@carillon/hub';
import { repeaterMetricDefinitions } from '@carillon/repeater';
import { adminMetricDefinitions, processMetricDefinitions, type MetricDefinition } from '@carillon/runtime';

import { code, markdownTable } from './markdown-table.ts';

const INTRODUCTION = `# Metrics

\`GET /metrics\` on the admin port, in Prometheus' text format. A metric without samples still shows its HELP and TYPE. Label values that come from peers are bounded to 256 a metric; what is beyond is counted under \`other\`.
`;

export interface MetricSection {
  readonly title: string;
  readonly text: string;
  readonly definitions: readonly MetricDefinition[];
}

/** What each app's /metrics shows, by section; a standalone shows all of them. */
export const metricSections: readonly MetricSection[] = [
  { title: 'Every process', text: 'Hub, repeater, config-manager and standalone.', definitions: [...Object.values(processMetricDefinitions), ...Object.values(adminMetricDefinitions)] },
  { title: 'Hub', text: 'Hub and standalone.', definitions: Object.values(hubMetricDefinitions) },
  { title: 'Config-manager', text: 'Config-manager and standalone.', definitions: Object.values(configManagerMetricDefinitions) },
  { title: 'Repeater', text: 'Repeater and standalone.', definitions: repeaterMetricDefinitions },
];

/** docs/operations/metrics.md: every metric of every app. */
export function metricsPage(): string {
  return [INTRODUCTION, ...metricSections.map(section)].join('\n');
}

function section({ title, text, definitions }: MetricSection): string {
  return `## ${title}\n\n${text}\n\n${markdownTable(['name', 'kind', 'labels', 'meaning'], definitions.map(row))}`;
}

function row({ name, kind, labels = [], help }: MetricDefinition): readonly string[] {
  return [code(name), kind, labels.map(code).join(', '), help];
}
