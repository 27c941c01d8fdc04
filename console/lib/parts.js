// Parts that several views have.

import { h } from "./dom.js";

/** A field that filters as one types; `words` tell by what. */
export function searchField(words, changed, test) {
	return h("input", { type: "search", placeholder: `${words}  ( / )`, label: `Filter by ${words.toLowerCase()}`, test, on: { input: () => changed() } });
}

/** A large number with a chart beside it and a line below. */
export function counter(test, title, kind = "") {
	const value = h("span", { class: "big", test }, "–"), below = h("div", { class: "below" }), chart = h("div", { class: "chart" });
	return { value, below, chart, node: h("section", { class: `counter ${kind}`, label: title }, h("h2", {}, title), value, below, chart) };
}

/** What stands where there is nothing to show: why, and what to do next. */
export function blank(title, ...words) {
	return h("div", { class: "state" }, h("h3", {}, title), words.map((part) => (part instanceof Node ? part : h("p", {}, part))));
}

/** Pairs of a name and a value, as text or a node; those without a value are left out. */
export function facts(list) {
	return h("dl", {}, list.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value instanceof Node ? value : h("bdi", {}, value)))));
}

/** The button that closes a panel. */
export function closer(close) {
	return h("button", { class: "quiet", label: "Close the panel", on: { click: close } }, "✕");
}
