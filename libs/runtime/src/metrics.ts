import { ValueType } from '@opentelemetry/api';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { AggregationTemporality, DataPointType, type MetricData, type ResourceMetrics } from '@opentelemetry/sdk-metrics';

// Nothing is recorded: a scrape reads plain numbers through the callbacks and hands them, as the SDK's own data model, to its Prometheus
// serializer. The SDK's observable instruments are not in between, because their cumulative storage repeats the last value of every label
// set ever seen (measured, sdk-metrics 2.12.1): the gauge of a peer that left would be reported for ever, and never freed.

/** What a metric is called and means; the name is the one Prometheus shows, unit and `_total` included. */
export interface MetricDefinition {
  /** e.g. `carillon_hub_events_received_total`; a counter's name ends with `_total`, a gauge's does not. */
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  /** The labels its samples may carry; absent = none. */
  readonly labels?: readonly string[];
}

/** One number of a metric, under its labels. */
export interface MetricSample {
  readonly value: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Reads a metric's present value or values; called at every scrape, so it must be quick and change nothing. */
export type MetricReading = () => number | readonly MetricSample[];

interface Observed {
  readonly definition: MetricDefinition;
  readonly read: MetricReading;
}

/** Lower-case words joined by one underscore: whatever else is allowed elsewhere, the serializer would rewrite. */
const METRIC_NAME = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;
const LABEL_NAME = METRIC_NAME;

/** The metrics of one process; nothing in it is global. */
export class Metrics {
  readonly #observed = new Map<string, Observed>();
  readonly #startedAt = toHrTime(Date.now());
  readonly #serializer = new PrometheusSerializer('', false, undefined, true, true);
  readonly #onReadError: (definition: MetricDefinition, error: unknown) => void;

  /** `onReadError` hears of a callback that threw; its metric is then missing from that scrape alone. */
  constructor(onReadError: (definition: MetricDefinition, error: unknown) => void) {
    this.#onReadError = onReadError;
  }

  /** Exposes a metric; throws when its name is taken, or is not a name that would be shown unchanged. */
  observe(definition: MetricDefinition, read: MetricReading): void {
    const reason = faultOf(definition);
    if (reason !== undefined) throw new Error(`The metric ${definition.name} ${reason}.`);
    if (this.#observed.has(definition.name)) throw new Error(`The metric ${definition.name} is already observed.`);
    this.#observed.set(definition.name, { definition, read });
  }

  /** Every definition observed so far, in order, for generated docs. */
  definitions(): readonly MetricDefinition[] {
    return [...this.#observed.values()].map((observed) => observed.definition);
  }

  /** The present values in Prometheus' text format; a metric without samples still shows its HELP and TYPE. */
  render(): string {
    const metrics = [...this.#observed.values()].flatMap((observed) => this.#read(observed));
    if (metrics.length === 0) return '';
    return this.#serializer.serialize({ resource: noResource, scopeMetrics: [{ scope: { name: 'carillon' }, metrics }] });
  }

  #read({ definition, read }: Observed): readonly MetricData[] {
    try {
      const reading = read();
      return [this.#metricData(definition, typeof reading === 'number' ? [{ value: reading }] : reading)];
    } catch (error) {
      this.#onReadError(definition, error);
      return [];
    }
  }

  #metricData(definition: MetricDefinition, samples: readonly MetricSample[]): MetricData {
    const endTime = toHrTime(Date.now());
    const dataPoints = samples.map(({ value, labels = {} }) => {
      const stranger = Object.keys(labels).find((label) => !definition.labels?.includes(label));
      if (stranger !== undefined) throw new Error(`A sample of ${definition.name} has the undeclared label ${stranger}.`);
      return { startTime: this.#startedAt, endTime, attributes: labels, value };
    });
    const shared = {
      descriptor: { name: definition.name, description: definition.help, unit: '', valueType: ValueType.DOUBLE },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      dataPoints,
    };
    return definition.kind === 'counter'
      ? { ...shared, dataPointType: DataPointType.SUM, isMonotonic: true }
      : { ...shared, dataPointType: DataPointType.GAUGE };
  }
}

/** The serializer prints nothing of a resource (no `target_info`, no constant labels), but its input has one. */
const noResource: ResourceMetrics['resource'] = {
  attributes: {},
  merge: (other) => other ?? noResource,
  getRawAttributes: () => [],
};

function faultOf(definition: MetricDefinition): string | undefined {
  const { name, kind, labels = [] } = definition;
  if (!METRIC_NAME.test(name)) return 'needs a name of lower-case words joined by single underscores';
  if (kind === 'counter' && !name.endsWith('_total')) return 'is a counter, so its name must end with _total';
  if (kind === 'gauge' && name.endsWith('_total')) return 'is a gauge, so its name must not end with _total';
  const label = labels.find((candidate) => !LABEL_NAME.test(candidate));
  return label === undefined ? undefined : `has the label ${JSON.stringify(label)}, which Prometheus would not show unchanged`;
}

/** OpenTelemetry's time: whole seconds and the nanoseconds of the rest. */
function toHrTime(ms: number): [number, number] {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
