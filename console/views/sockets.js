// Open sockets, on all nodes.

import { h, fill } from "../lib/dom.js";
import { ago, bytes, count, duration, short } from "../lib/format.js";
import { blank, closer, facts, searchField } from "../lib/parts.js";
import { Table } from "../lib/table.js";
import { clean } from "../model/model.js";

/** Kazoo counts seconds from the year 0. */
const EVERY = 5000, GREGORIAN = 62167219200;
/** Pages of a listing, and entries of a page; whoever has more sockets wants the API. */
const PAGES = 40, PAGE = 1000;

/** Who is connected, with what, and how far behind. */
export const view = {
	key: "sockets", title: "Sockets", shortcut: "s",
	open({ rest, me, account, names, gateway, say }) {
		let open = true, timer = 0, rows = [], loaded = false, trouble = "", missing = [], asked = 0, chosen = null;
		const everybody = account.id === "*", path = `accounts/${everybody ? me.account : account.id}/websockets`;
		const search = searchField("Name, address, binding, id", () => draw());
		const sum = h("span", { class: "muted small shown", role: "status" }), notice = h("p", { class: "doubt", hidden: true });
		const text = (value) => (a, b) => value(a).localeCompare(value(b));
		const owner = (row) => names.get(row.account_id) ?? (short(row.account_id) || "not logged in");
		const table = new Table({
			label: "Open sockets", rowHeight: 46, key: (row) => row.websocket_session_id, sorted: { key: "uptime", descending: false },
			rowData: (row) => ({ test: "socket-row", socket: row.websocket_session_id }), onOpen: inspect, empty,
			columns: [
				{ key: "name", title: "Name", width: "2fr", sort: text(title), cell: (row) => h("span", { class: "party" }, mine(row) && h("span", { class: "tag" }, "this page"), h("bdi", { class: "who" }, title(row))) },
				{ key: "address", title: "Address", width: "1.3fr", class: "medium", sort: text((row) => row.source), cell: (row) => h("bdi", { class: "mono" }, row.source) },
				everybody && { key: "account", title: "Account", width: "1.2fr", class: "medium", sort: text(owner), cell: (row) => h("bdi", {}, owner(row)) },
				{ key: "node", title: "Node", width: "1.4fr", class: "wide", sort: text((row) => row.node), cell: (row) => h("bdi", { class: "muted" }, row.node || "–") },
				{ key: "bindings", title: "Bindings", width: "92px", class: "number medium", sort: (a, b) => a.bindings.length - b.bindings.length, cell: (row) => count(row.bindings.length) },
				{ key: "sent", title: "Sent", width: "92px", class: "number wide", sort: (a, b) => a.sent - b.sent, cell: (row) => count(row.sent) },
				{ key: "waiting", title: "Waiting", width: "92px", class: "number medium", sort: (a, b) => a.waiting_bytes - b.waiting_bytes, cell: (row) => h("span", { class: row.waiting_bytes ? "doubt" : "muted" }, bytes(row.waiting_bytes)) },
				{ key: "uptime", title: "Uptime", width: "92px", class: "number", live: true, sort: (a, b) => b.timestamp - a.timestamp, cell: (row, now) => duration(now - began(row)) },
				me.admin && { key: "close", title: "Close", width: "84px", class: "number", cell: (row) => row.account_id && h("button", { class: "small", test: "socket-close", label: `Close ${title(row)}`, on: { click: () => ask(row) } }, "Close") },
			].filter(Boolean),
		});
		const detail = h("section", { class: "detail panel", hidden: true, label: "The socket" });
		const node = h("section", { class: "sockets", label: "Sockets" }, h("div", { class: "bar" }, search, h("button", { on: { click: () => look() } }, "Refresh"), sum), notice, h("div", { class: "board" }, table.node, detail));

		function title(row) { return clean(row.name) || short(row.websocket_session_id, 12); }
		function mine(row) { return row.name === gateway.name; }
		function began(row) { return (row.timestamp - GREGORIAN) * 1000; }

		/** All pages, one after the other. */
		async function look() {
			clearTimeout(timer);
			// Nobody looks: no need to ask all nodes.
			if (document.hidden && loaded) return void (timer = setTimeout(look, EVERY));
			const turn = ++asked, found = new Map(), silent = new Set();
			trouble = "";
			let start, pause = EVERY;
			try {
				for (let pages = 0; pages === 0 || (start && pages < PAGES); pages++) {
					const page = await rest.envelope(path, { page_size: PAGE, ...(everybody && { descendants: "true" }), ...(start && { start_key: start }) });
					for (const row of page.data) found.set(row.websocket_session_id, { sent: 0, waiting_bytes: 0, ...row, account_id: row.account_id ?? "", source: clean(row.source), node: clean(row.node), bindings: Array.isArray(row.bindings) ? row.bindings : [] });
					for (const name of page.missing_nodes ?? []) silent.add(clean(name));
					start = page.next_start_key;
					if (!open || turn !== asked) return;
				}
			} catch (error) {
				if (turn !== asked) return;
				trouble = error.message;
				pause = Math.max(EVERY, (error.retryAfter ?? 0) * 1000);
			}
			if (!open || turn !== asked) return;
			// A listing that broke off does not make others disappear.
			rows = trouble ? [...new Map([...rows.map((row) => [row.websocket_session_id, row]), ...found]).values()] : [...found.values()];
			missing = [...silent];
			loaded = true;
			draw();
			timer = setTimeout(look, pause);
		}

		function draw() {
			if (!open) return;
			const wanted = search.value.trim().toLowerCase();
			const fits = (row) => !wanted || [row.websocket_session_id, title(row), row.source, row.node, owner(row), ...row.bindings].join("\n").toLowerCase().includes(wanted);
			fill(table.blank);
			table.show(rows.filter(fits));
			sum.textContent = loaded ? `${count(rows.length)} open` : "";
			const words = [missing.length && `No answer from ${missing.join(", ")}: their sockets are not in this list.`, trouble && `The list is not complete: ${trouble}`].filter(Boolean);
			notice.hidden = !words.length || !loaded;
			notice.textContent = words.join(" ");
			if (chosen) inspect(rows.find((row) => row.websocket_session_id === chosen.websocket_session_id) ?? chosen, false);
		}

		function empty() {
			if (!loaded) return blank("Asking all nodes …", "A moment.");
			if (trouble && !rows.length) return blank("The sockets could not be listed", trouble);
			return rows.length ? blank("No socket is like this", "Esc clears the filter.") : blank("No open sockets", "Whoever subscribes for this account appears here.");
		}

		function inspect(row, focus = true) {
			chosen = row;
			detail.hidden = false;
			node.classList.add("split");
			const here = rows.includes(row), list = [["Session", row.websocket_session_id], ["Address", row.source], ["To", clean(row.destination)], ["Node", row.node], ["Account", owner(row)], ["Account id", row.account_id], ["Sent", count(row.sent)], ["Waiting", bytes(row.waiting_bytes)], ["Metadata", row.metadata !== undefined && clean(JSON.stringify(row.metadata), 400)]];
			fill(detail, h("div", { class: "title" }, h("h2", {}, h("bdi", {}, title(row))), closer(hide)),
				h("p", { class: here ? "muted" : "doubt" }, here ? `open for ${ago(Date.now() - began(row))}` : "closed meanwhile"),
				facts(list),
				h("h3", {}, `${count(row.bindings.length)} bindings`), h("ul", { class: "plain mono" }, row.bindings.slice(0, 500).map((binding) => h("li", {}, h("bdi", {}, clean(binding, 200))))));
			if (focus) detail.querySelector("button").focus();
		}

		function hide() {
			chosen = null;
			detail.hidden = true;
			node.classList.remove("split");
			table.focus();
		}

		function ask(row) {
			const trouble = h("p", { class: "error", role: "alert" });
			const dialog = h("dialog", { class: "panel", label: "Close a socket", on: { close: () => dialog.remove() } }, h("form", { method: "dialog", class: "card" }, h("h2", {}, "Close this socket?"),
				h("p", {}, h("bdi", {}, title(row)), " at ", h("bdi", { class: "mono" }, row.source), mine(row) ? ": it is this page's own; the page will come back." : ". Its client is told that an administrator closed it; most come back by themselves."), trouble,
				h("p", { class: "actions" }, h("button", { class: "primary", on: { click: async (event) => {
					event.target.disabled = true;
					try {
						await rest.delete(`accounts/${row.account_id}/websockets/${row.websocket_session_id}`);
						dialog.close();
						say(`Closed ${title(row)}`);
					} catch (error) {
						trouble.textContent = error.status === 404 ? "It is gone already." : error.message;
						event.target.disabled = false;
					}
					look();
				} } }, "Close socket"), h("button", { type: "submit" }, "Leave it"))));
			document.body.append(dialog);
			dialog.showModal();
		}

		look();
		return {
			node,
			tick: (now) => table.tick(now),
			focusSearch: () => search.focus(),
			escape() { if (chosen) hide(); else { search.value = ""; draw(); } },
			refresh: look,
			close() {
				open = false;
				clearTimeout(timer);
				table.close();
			},
		};
	},
};
