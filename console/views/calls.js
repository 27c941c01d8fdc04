// The board of calls.

import { h, svg, fill } from "../lib/dom.js";
import { later } from "../lib/later.js";
import { blank, closer, counter, facts as pairs, searchField } from "../lib/parts.js";
import { Table } from "../lib/table.js";
import { bars } from "../lib/chart.js";
import { ago, clock, count, duration } from "../lib/format.js";
import { STATES, causeInWords } from "../model/calls.js";
import { clean } from "../model/model.js";

const WORDS = { ringing: "Ringing", answered: "Answered", bridged: "Bridged", held: "Held", parked: "Parked", ended: "Ended" };

/** A shape for each state, so that colour is never the only sign. */
const SHAPES = {
	ringing: [["circle", { cx: 8, cy: 8, r: 2.5, class: "full" }], ["circle", { cx: 8, cy: 8, r: 6.2, "stroke-dasharray": "6 3.7" }]],
	answered: [["circle", { cx: 8, cy: 8, r: 6.2 }], ["path", { d: "M5 8.300l2.2 2.200L11.2 6" }]],
	bridged: [["path", { d: "M3 6h8.500M9 3.200L12 6 9 8.800M13 10.500H4.500M7 7.800l-3 2.7 3 2.7" }]],
	held: [["path", { d: "M5.5 3v10M10.5 3v10", "stroke-width": 3 }]],
	parked: [["rect", { x: 2, y: 2, width: 12, height: 12, rx: 3 }], ["path", { d: "M6.3 12V4.500h2.200a2.2 2.2 0 0 1 0 4.400H6.3" }]],
	ended: [["path", { d: "M4 4l8 8M12 4l-8 8" }]],
};

/** The sign of a state. */
function mark(state) {
	return svg("svg", { class: "mark", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, (SHAPES[state] ?? SHAPES.ended).map(([tag, props]) => svg(tag, props)));
}

function chip(row) {
	return h("span", { class: `chip ${row.state}` }, mark(row.state), WORDS[row.state], row.state === "parked" && row.slot && h("b", {}, ` ${row.slot}`));
}

/** A name and a number, each on its own against what their letters may do to the others'. */
function party({ name, number } = {}) {
	if (!name && !number) return h("span", { class: "muted" }, "unknown");
	return h("span", { class: "party", title: [name, number].filter(Boolean).join(" · ") }, h("bdi", { class: name ? "who" : "who num" }, name || number), name && number && h("bdi", { class: "num" }, number));
}

const hour = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const text = (value) => (a, b) => value(a).localeCompare(value(b));
const label = ({ name, number } = {}) => name || number || "";

/** Calls in progress. */
export const view = {
	key: "calls", title: "Calls", shortcut: "c",
	open({ models: { calls: model }, account, names, config, gateway, say, alerts }) {
		let open = null, drawn = "", charted = "", waits = null;
		const everybody = account.id === "*";
		const owner = (row) => names.get(row.account) ?? (row.accountName || row.account.slice(0, 8) || "–");

		const active = counter("count-active", "In progress"), longest = counter("count-longest", "Waiting longest"),
			answered = counter("count-answered", "Answered, last hour", "good"), missed = counter("count-missed", "Missed, last hour", "bad");
		const states = Object.fromEntries(STATES.slice(0, 5).map((state) => {
			const value = h("b", {}, "0");
			const pick = () => { filter.value = filter.value === state ? "" : state; update(); };
			return [state, { value, node: h("button", { class: `chip ${state}`, on: { click: pick } }, mark(state), WORDS[state], value) }];
		}));

		const search = searchField("Name, number, user, Call-ID", () => update(), "call-search");
		const filter = h("select", { label: "Filter calls by state", test: "call-state", on: { change: () => update() } },
			h("option", { value: "" }, "All states"), STATES.map((state) => h("option", { value: state }, WORDS[state])));
		const seen = h("span", { class: "muted small shown" });
		const bell = h("button", { "aria-pressed": String(alerts.on), title: "Notifications, and the number of calls in the tab's title", on: { click: async () => {
			const words = await alerts.toggle();
			bell.setAttribute("aria-pressed", String(alerts.on));
			say(words);
		} } }, "Alerts");

		const table = new Table({
			label: "Calls in progress", rowHeight: 46, key: (row) => row.id, version: (row) => row.version, sorted: { key: "time", descending: false },
			rowClass: (row) => `call ${row.state}${row.stale ? " stale" : ""}${Date.now() - row.stateSince < 1200 ? " fresh" : ""}`,
			rowData: (row) => ({ test: "call-row", call: row.id, state: row.state, stale: row.stale || null }),
			onOpen: (row) => show(row),
			empty,
			columns: [
				{ key: "state", title: "State", width: "152px", sort: (a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || a.stateSince - b.stateSince, cell: chip },
				{ key: "caller", title: "Caller", width: "2.4fr", sort: text((row) => label(row.caller)), cell: (row) => party(row.caller) },
				{ key: "callee", title: "Callee", width: "2.4fr", sort: text((row) => label(row.callee)), cell: (row) => party(row.callee) },
				{ key: "direction", title: "Direction", width: "124px", class: "wide", sort: text((row) => row.direction), cell: (row) => ({ inbound: "→ inbound", outbound: "← outbound", internal: "↔ internal" })[row.direction] ?? "–" },
				{ key: "user", title: "User", width: "1.2fr", class: "wide", sort: text((row) => row.user), cell: (row) => h("bdi", { class: "muted" }, row.user || "–") },
				everybody && { key: "account", title: "Account", width: "1.3fr", class: "medium", sort: text(owner), cell: (row) => h("bdi", {}, owner(row)) },
				{ key: "note", title: "Note", width: "1.5fr", class: "medium", cell: note },
				{ key: "time", title: "Time", width: "92px", class: "number", live: true, sort: (a, b) => b.since - a.since, cell: timer },
			].filter(Boolean),
		});

		const detail = h("aside", { class: "detail panel", hidden: true, label: "The call", test: "call-detail" });
		const node = h("section", { class: "calls", label: "Calls" },
			h("div", { class: "counters" }, active.node, longest.node, answered.node, missed.node),
			h("div", { class: "bar" }, search, filter, h("div", { class: "legend", role: "group", label: "Calls by state" }, Object.values(states).map((one) => one.node)), seen, bell),
			h("div", { class: "board" }, table.node, detail));

		function note(row) {
			if (row.state === "ended") return row.missed ? h("span", { class: "missed" }, h("b", {}, "Missed"), ` · ${row.cause}`) : row.cause;
			if (row.stale) return h("span", { class: "doubt", title: "Nothing was heard of it since the connection came back" }, "unsure");
			if (row.mid) return h("span", { class: "muted", title: row.known ? "The page was not there when it began; its age comes from the switch" : "The page was not there when it began: it has lasted longer than the time shown" }, "joined midway");
			return row.legs.length > 2 ? h("span", { class: "muted" }, `${row.legs.length} legs`) : "";
		}

		function timer(row, now) {
			const time = duration((row.endedAt ?? now) - row.since);
			return row.known ? time : h("span", { title: "at least" }, `≥ ${time}`);
		}

		function empty() {
			if (model.rows().length) return blank("No call is like this", "Esc clears the filter.", h("p", { class: "actions" }, h("button", { on: { click: clear } }, "Show all calls")));
			if (gateway.state.name !== "connected") return blank("Not connected", "Calls appear here as soon as the gateway is there.");
			return blank("No calls right now", everybody ? "The next call of any account appears here." : "The next call of this account appears here.",
				h("p", {}, config.demo ? `The simulation makes calls: wait a few seconds${everybody ? "" : ", or watch another account"}.` : ["Call somebody, or start the gateway with ", h("code", {}, "--demo"), " for simulated calls. A call that is already going on appears with its next event."]));
		}

		function clear() {
			search.value = filter.value = "";
			update();
		}

		function draw(now) {
			const wanted = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean), state = filter.value;
			const all = model.rows();
			const rows = wanted.length || state ? all.filter((row) => (!state || row.state === state) && wanted.every((word) => row.search.includes(word))) : all;
			const kind = `${all.length > 0}${gateway.state.name}`;
			if (drawn !== kind && !rows.length) { drawn = kind; fill(table.blank); }
			table.show(rows);
			write(seen, rows.length === all.length ? "" : `${count(rows.length)} of ${count(all.length)}`);
			numbers(now);
			if (open) inspect(now);
		}

		function numbers(now, charts = false) {
			const sum = model.summary(now), total = (values) => values.reduce((all, value) => all + value, 0);
			write(active.value, count(sum.active));
			for (const [state, { value, node }] of Object.entries(states)) {
				write(value, count(sum.states[state]));
				node.setAttribute("aria-pressed", String(filter.value === state));
			}
			write(longest.value, sum.longest ? duration(now - sum.longest.stateSince) : "–");
			const who = sum.longest ? sum.longest.id + sum.longest.version : "";
			if (waits !== who && sum.longest) fill(longest.below, mark(sum.longest.state), ` ${WORDS[sum.longest.state].toLowerCase()}: `, h("bdi", {}, clean(label(sum.longest.caller), 24) || "unknown"));
			else if (waits !== who) fill(longest.below, "nobody waits");
			waits = who;
			const since = now - (model.from ?? now) < 3_600_000 ? ` since ${hour.format(model.from ?? now)}` : "";
			const [yes, no, began] = [total(sum.answered), total(sum.missed), total(sum.started)];
			write(answered.value, count(yes));
			write(missed.value, count(no));
			write(answered.below, `${yes + no ? `${Math.round((yes / (yes + no)) * 100)} % of calls` : "none"}${since}`);
			write(missed.below, `${no ? "nobody answered" : "none"}${since}`);
			write(active.below, `${count(sum.started.at(-1))} new this minute`);
			const key = `${yes} ${no} ${began} ${Math.floor(now / 60_000)}`;
			if (!charts || charted === key) return;
			charted = key;
			const chart = (place, values, words) => fill(place, bars(values, { label: `${words} a minute in the last hour: ${count(total(values))} in all, ${count(Math.max(...values))} at most`, width: 240, height: 40 }));
			chart(active.chart, sum.started, "Calls begun");
			chart(answered.chart, sum.answered, "Calls answered");
			chart(missed.chart, sum.missed, "Calls missed");
		}

		function write(place, words) {
			if (place.textContent !== words) place.textContent = words;
		}

		function show(row) {
			open = { id: row.id, key: "" };
			detail.hidden = false;
			node.classList.add("split");
			inspect(Date.now());
			detail.querySelector("button")?.focus();
		}

		function hide() {
			if (!open) return;
			open = null;
			detail.hidden = true;
			node.classList.remove("split");
			table.focus();
		}

		function inspect(now) {
			const row = model.find(open.id) ?? open.row;
			const events = row ? model.events(row) : [];
			const key = row && [row.id, row.state, row.stale, row.legs.map((leg) => leg.last + leg.seen), events.length, model.find(open.id) ? 1 : 0].join();
			open.timer && write(open.timer, duration((row.endedAt ?? now) - row.since));
			if (key === open.key) return;
			const expanded = new Set([...detail.querySelectorAll("details[open]")].map((one) => one.dataset.at));
			Object.assign(open, { row, id: row.id, key, timer: h("span", { class: "big" }, duration((row.endedAt ?? now) - row.since)) });
			const top = detail.scrollTop, focused = detail.contains(document.activeElement);
			fill(detail,
				h("div", { class: "title" }, chip(row), open.timer, closer(hide)),
				h("div", { class: "parties" }, party(row.caller), h("span", { class: "muted", label: "calls" }, "→"), party(row.callee)),
				row.cause && h("p", {}, row.cause),
				row.mid && h("p", { class: "muted small" }, "First seen in the middle of its life: what was before is not known."),
				row.stale && h("p", { class: "small" }, h("span", { class: "doubt" }, "unsure"), " The connection was away; it may have ended."),
				row.state !== "ended" && h("p", {}, h("button", { class: "small", test: "call-remove", on: { click: () => { model.remove(row.id); hide(); } } }, "Remove from the board")),
				row.legs.map((leg, index) => facts(leg, row, index)),
				h("h3", {}, "Last events"),
				events.length ? events.map(({ name, at, data }) => {
					const id = `${name}${at}`;
					return h("details", { dataset: { at: id }, open: expanded.has(id) || null }, h("summary", {}, h("span", { class: "mono" }, name), h("time", { class: "muted" }, clock(at))), h("pre", { tabindex: 0 }, JSON.stringify(data, null, 1).slice(0, 20_000)));
				}) : h("p", { class: "muted" }, "None is kept any more."));
			detail.scrollTop = top;
			if (focused) detail.querySelector(".quiet").focus({ preventScroll: true });
		}

		function facts(leg, row, index) {
			const list = [
				["Caller", leg.caller && party(leg.caller)], ["Callee", leg.callee && party(leg.callee)], ["Direction", leg.direction], ["User", leg.user],
				["Account", everybody && owner(leg.account ? { account: leg.account, accountName: leg.accountName ?? "" } : row)],
				["Began", leg.known ? clock(leg.start) : null], ["Answered", leg.answered ? clock(leg.answered) : null], ["Ended", leg.ended ? `${clock(leg.ended)}, ${causeInWords(leg.cause).toLowerCase()}` : null],
				["Hang-up", leg.ended && [leg.cause, leg.code].filter(Boolean).join(", ")], ["Media server", leg.server], ["Phone", leg.agent],
			];
			return h("section", { class: "leg" }, h("h3", {}, index || leg !== row.main ? `Leg ${index + 1}` : "First leg", leg.ended ? h("span", { class: "muted" }, " ended") : leg.peer && h("span", { class: "muted" }, " talking")),
				pairs([...list, ["Call-ID", h("bdi", { class: "mono id" }, leg.id)]]));
		}

		/** Some twelve pictures a second at most also spare a wall screen's processor. */
		const update = later(() => draw(Date.now()), 80);
		model.onchange.add(update);
		gateway.addEventListener("state", update);
		numbers(Date.now(), true);
		update();
		return {
			node,
			focusSearch: () => search.focus(),
			tick(now) {
				table.tick(now);
				numbers(now, true);
				if (open?.timer && open.row) write(open.timer, duration((open.row.endedAt ?? now) - open.row.since));
			},
			escape() {
				if (open) hide();
				else if (search.value || filter.value) clear();
			},
			refresh: update,
			close() {
				model.onchange.delete(update);
				gateway.removeEventListener("state", update);
				update.stop();
				table.close();
			},
		};
	},
};
