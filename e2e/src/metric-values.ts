/** The samples of one scrape. */
export interface MetricValues {
  /** The sum over all samples of a name whose labels hold the given ones; undefined when there is none. */
  get(name: string, labels?: Readonly<Record<string, string>>): number | undefined;
}

const SAMPLE = /^([a-z0-9_]+)(?:\{(.*)\})? (\S+)/;

/** Scrapes /metrics of the process whose admin port this is. */
export async function readMetrics(adminPort: number): Promise<MetricValues> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/metrics`);
  const samples = (await response.text()).split('\n').flatMap((line) => {
    const [, name, labels = '', value] = SAMPLE.exec(line) ?? [];
    return name === undefined ? [] : [{ name, labels: labels.split(','), value: Number(value) }];
  });
  return {
    get: (name, labels = {}) => {
      const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      const found = samples.filter((sample) => sample.name === name && wanted.every((label) => sample.labels.includes(label)));
      return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
    },
  };
}
