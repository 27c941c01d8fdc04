// The board of calls.
import { h } from "../lib/dom.js";
/** Calls in progress. */
export const view = { key: "calls", title: "Calls", shortcut: "c", open() { return { node: h("section", {}, "calls") }; } };
