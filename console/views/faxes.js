// Faxes, and how far they are.

import { fill, h } from "../lib/dom.js";
import { clock } from "../lib/format.js";
import { later } from "../lib/later.js";
import { blank, searchField } from "../lib/parts.js";
import { Table } from "../lib/table.js";

/** Faxes as they are sent and received. */
export const view = {
	key: "faxes", title: "Faxes", shortcut: "f",
	open({ models: { faxes: model }, account, names, gateway, config }) {
		const search = searchField("Number, name, state", () => draw());
		const text = (value) => (a, b) => value(a).localeCompare(value(b));
		const owner = (fax) => names.get(fax.account) ?? fax.account.slice(0, 8);
		const table = new Table({
			label: "Faxes", rowHeight: 46, key: (fax) => fax.id, version: (fax) => fax.version, sorted: { key: "time", descending: true },
			rowClass: (fax) => `fax${fax.stale ? " stale" : ""}${fax.ended ? " done" : ""}${fax.failed ? " failed" : ""}`,
			rowData: (fax) => ({ test: "fax-row", fax: fax.id, state: fax.state }),
			empty: () => model.list().length ? blank("No fax is like this", "Esc clears the filter.")
				: blank("No faxes yet", gateway.state.name !== "connected" ? "They appear here as soon as the gateway is there." : config.demo ? "The simulation sends one now and then." : "The next fax of the account appears here, page by page."),
			columns: [
				{ key: "direction", title: "Direction", width: "120px", class: "medium", sort: text((fax) => fax.direction), cell: (fax) => ({ incoming: "→ incoming", outgoing: "← outgoing" })[fax.direction] ?? "–" },
				{ key: "remote", title: "From / to", width: "2fr", sort: text((fax) => fax.name + fax.remote), cell: (fax) => h("span", { class: "party" }, h("span", { class: "muted" }, fax.direction === "incoming" ? "from" : "to"), h("bdi", { class: "who" }, fax.name || fax.remote || "unknown"), fax.name && fax.name !== fax.remote && h("bdi", { class: "num" }, fax.remote)) },
				account.id === "*" && { key: "account", title: "Account", width: "1.2fr", class: "wide", sort: text(owner), cell: (fax) => h("bdi", {}, owner(fax)) },
				{ key: "pages", title: "Pages", width: "1.3fr", sort: (a, b) => a.pages - b.pages, cell: pages },
				{ key: "status", title: "Status", width: "2fr", class: "medium", sort: text((fax) => fax.status), cell: status },
				{ key: "time", title: "Last heard", width: "112px", class: "number", sort: (a, b) => a.last - b.last, cell: (fax) => clock(fax.last) },
			].filter(Boolean),
		});
		const node = h("section", { class: "faxes", label: "Faxes" }, h("div", { class: "bar" }, search), table.node);

		function pages(fax) {
			const words = fax.total ? `${fax.pages} of ${fax.total}` : String(fax.pages);
			return h("span", { class: "pages" }, fax.total && h("progress", { max: fax.total, value: fax.pages, label: `${words} pages` }), words);
		}

		function status(fax) {
			return h("span", { class: fax.failed ? "missed" : "" }, fax.failed && h("b", {}, "Failed: "), !fax.failed && fax.ended > 0 && "✓ ", h("bdi", { title: fax.status }, fax.status || fax.state), fax.stale && h("span", { class: "doubt" }, " unsure"));
		}

		function draw() {
			const wanted = search.value.trim().toLowerCase();
			fill(table.blank);
			table.show(model.list().filter((fax) => !wanted || [fax.remote, fax.name, fax.status, fax.state, fax.direction].join("\n").toLowerCase().includes(wanted)));
		}

		const update = later(draw);
		model.onchange.add(update);
		gateway.addEventListener("state", update);
		draw();
		return {
			node,
			focusSearch: () => search.focus(),
			escape() { search.value = ""; draw(); },
			close() {
				model.onchange.delete(update);
				gateway.removeEventListener("state", update);
				update.stop();
				table.close();
			},
		};
	},
};
