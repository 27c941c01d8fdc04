// Keys, and what the page means.

import { h } from "../lib/dom.js";

/** Opens the help over whatever is there. */
export function openHelp(views) {
	if (document.querySelector("[data-test=help]")) return;
	const rows = [
		["Search", "/"],
		["Close, or clear the search", "Esc"],
		["Move in a table", "↑", "↓", "PgUp", "PgDn"],
		["Open the row", "Enter"],
		...views.map((view, index) => [view.title, index + 1, "or", "g", view.shortcut]),
		["These words", "?"],
	];
	const dialog = h("dialog", { class: "panel help", "aria-labelledby": "help-title", test: "help", on: {
		close: () => dialog.remove(),
		click: (event) => event.target === dialog && dialog.close(),
	} },
		h("div", { class: "title" }, h("h2", { id: "help-title" }, "Keys"), h("button", { class: "quiet", label: "Close", on: { click: () => dialog.close() } }, "✕")),
		h("dl", { class: "keys" }, rows.map(([text, ...keys]) => h("div", {}, h("dt", {}, text), h("dd", {}, keys.map((key) => (key === "or" ? " or " : h("kbd", {}, key))))))),
		h("h3", {}, "What the board knows"),
		h("p", {}, "Only events: there is no list of calls to ask for. A call that was there before the page is seen from its next event on, and says so. After a gap in the connection, what may have ended unseen is marked until something is heard of it."),
		h("p", {}, "Everything here uses the public protocol and REST. What the page does, your program can do: the view Events shows how."));
	document.body.append(dialog);
	dialog.showModal();
}
