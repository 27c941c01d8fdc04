// Small charts.

import { svg } from "./dom.js";

/** Bars over time, the newest on the right; `label` says in words what the picture shows. */
export function bars(values, { label, width = 240, height = 48 }) {
	const most = Math.max(1, ...values);
	const step = width / Math.max(1, values.length);
	return svg("svg", { class: "bars", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", width, height },
		svg("rect", { class: "base", x: 0, y: height - 1, width, height: 1 }),
		values.map((value, index) => {
			if (!(value > 0)) return null;
			const tall = Math.max(2, (value / most) * (height - 2));
			return svg("rect", { x: (index * step + step * 0.12).toFixed(2), y: (height - tall).toFixed(2), width: (step * 0.76).toFixed(2), height: tall.toFixed(2), rx: Math.min(1.5, step / 4).toFixed(2) });
		}));
}
