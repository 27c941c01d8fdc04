// Numbers out of /metrics (OpenMetrics text).

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Reads a page of metrics: a Map from name to a list of { labels, value }. */
export function parse(text) {
	const all = new Map();
	for (const line of text.split("\n")) {
		const [, name, inner, value] = line.startsWith("#") ? [] : LINE.exec(line) ?? [];
		if (!name) continue;
		const labels = Object.fromEntries([...(inner ?? "").matchAll(LABEL)].map(([, key, word]) => [key, word]));
		if (!all.has(name)) all.set(name, []);
		all.get(name).push({ labels, value: Number(value) });
	}
	return all;
}

/** The sum over all labels; 0 for what is not there. */
export function total(all, name) {
	return (all.get(name) ?? []).reduce((sum, { value }) => sum + value, 0);
}

/** Values by one label. */
export function by(all, name, label) {
	return new Map((all.get(name) ?? []).map(({ labels, value }) => [labels[label], value]));
}

/** The value, in the histogram's unit, below which this part of what came between two readings is; null when nothing came. */
export function quantile(before, after, name, part) {
	const old = by(before, `${name}_bucket`, "le");
	const buckets = [...by(after, `${name}_bucket`, "le")].map(([le, value]) => [Number(le.replace("+Inf", "Infinity")), value - (old.get(le) ?? 0)]).sort(([a], [b]) => a - b);
	const all = buckets.at(-1)?.[1] ?? 0;
	if (!(all > 0)) return null;
	let [low, under] = [0, 0];
	for (const [le, value] of buckets) {
		if (value >= all * part) return Number.isFinite(le) ? low + ((le - low) * (all * part - under)) / Math.max(1, value - under) : low;
		[low, under] = [le, value];
	}
	return low;
}
