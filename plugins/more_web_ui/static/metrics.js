// Prometheus' text, as far as the server writes it, and what is drawn of it.

const INFINITIES = { "+Inf": Infinity, "-Inf": -Infinity };
const ESCAPED = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/**
 * @param {string} text
 * @returns {Array<{name: string, labels: Record<string, string>, value: number}>}
 */
export function parseMetrics(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const parts = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line); // a comment begins with #
    if (!parts) continue;
    const labels = {};
    for (const [, name, value] of (parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\[n"\\]/g, (mark) => ESCAPED[mark]);
    }
    found.push({ name: parts[1], labels, value: INFINITIES[parts[3]] ?? Number(parts[3]) });
  }
  return found;
}

/** The sum of a metric over all labels but those given; null where there is none. */
export function total(metrics, name, labels = {}) {
  const wanted = Object.entries(labels);
  const found = metrics.filter((one) => one.name === name && wanted.every(([key, value]) => one.labels[key] === value));
  return found.length ? found.reduce((sum, one) => sum + one.value, 0) : null;
}

/** Counts of a histogram by upper bound, over all other labels: `[[0.1, 3], …, [Infinity, 8]]`. */
export function buckets(metrics, name) {
  const counts = new Map();
  for (const one of metrics) {
    if (one.name !== `${name}_bucket`) continue;
    const bound = INFINITIES[one.labels.le] ?? Number(one.labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + one.value);
  }
  return [...counts].sort(([one], [other]) => one - other);
}

/**
 * The value below which a share of what was counted between two looks lies, as Prometheus estimates it.
 * @param {Array<[number, number]>} before  Of `buckets`; may be empty.
 * @param {Array<[number, number]>} now
 * @param {number} share  0.5: the median.
 * @returns {number | null}  null: nothing was counted.
 */
export function quantile(before, now, share) {
  const earlier = new Map(before);
  const grown = now.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]);
  const all = grown.at(-1)?.[1] ?? 0;
  if (!(all > 0)) return null;
  let [lower, below] = [0, 0];
  for (const [bound, count] of grown) {
    if (count >= share * all) {
      if (bound === Infinity) return lower;
      return count === below ? bound : lower + ((bound - lower) * (share * all - below)) / (count - below);
    }
    [lower, below] = [bound, count];
  }
  return lower;
}
