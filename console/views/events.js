// The inspector: any bindings, and every event as it comes.

import { h, fill } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { later } from "../lib/later.js";
import { blank, closer, searchField } from "../lib/parts.js";
import { Table } from "../lib/table.js";
import { clean } from "../model/model.js";

const KEPT = 2000, WINDOW = 10_000, LONG = 400, MOST = 200;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

/** Programs that do what the inspector does. The token is a placeholder. */
const EXAMPLES = {
	wscat: (url, frame) => `# TOKEN=$(blackhole token --account NAME)\nnpx wscat -c ${url} -w 86400 \\\n  -x '${frame.replace('"$TOKEN"', `"'"$TOKEN"'"`)}'`,
	Python: (url, frame) => `# pip install websockets\nimport asyncio, json, os, websockets\n\nasync def main():\n    async with websockets.connect("${url}") as socket:\n        frame = json.loads('''${frame}''')\n        frame["auth_token"] = os.environ["TOKEN"]\n        await socket.send(json.dumps(frame))\n        async for message in socket:\n            print(json.loads(message))\n\nasyncio.run(main())`,
	JavaScript: (url, frame) => `const socket = new WebSocket("${url}");\nconst frame = ${frame};\nframe.auth_token = TOKEN; // PUT /v2/user_auth gives one\nsocket.onopen = () => socket.send(JSON.stringify(frame));\nsocket.onmessage = ({ data }) => console.log(JSON.parse(data));`,
};

/** What can be subscribed to, and what comes of it. */
export const view = {
	key: "events", title: "Events", shortcut: "e",
	open({ rest, gateway, account, say }) {
		let open = true, rows = [], serial = 0, gone = 0, held = null, chosen = null, language = "wscat";
		const bindings = new Map(), catalogue = new Map();
		const binding = h("input", { value: "call.*.*", list: "catalogue", required: true, spellcheck: "false", autocomplete: "off", class: "mono", label: "Binding", placeholder: "call.CHANNEL_CREATE.*", test: "event-binding", on: { input: () => explain() } });
		const list = h("datalist", { id: "catalogue" }), meaning = h("p", { class: "muted small" }), trouble = h("p", { class: "error", role: "alert" });
		const active = h("ul", { class: "plain bindings", label: "Subscribed" });
		const frame = h("pre", { tabindex: 0, label: "The subscribe frame", test: "event-frame" }), example = h("pre", { tabindex: 0, label: "Example", test: "event-example" });
		const tongue = h("select", { label: "Language of the example", on: { change: () => { language = tongue.value; explain(); } } }, Object.keys(EXAMPLES).map((name) => h("option", {}, name)));
		const pause = h("button", { "aria-pressed": "false", test: "event-pause", on: { click: toggle } }, "Pause");
		const search = searchField("Anywhere in an event", () => draw(), "event-search");
		const sum = h("span", { class: "muted small shown", role: "status" });
		const detail = h("aside", { class: "detail panel", hidden: true, label: "The event" });
		const table = new Table({
			label: "Events, the newest first", rowHeight: 34, key: (row) => row.serial, version: () => 0, rowData: () => ({ test: "event-row" }), onOpen: inspect, empty,
			columns: [
				{ key: "time", title: "Time", width: "150px", cell: (row) => h("span", { class: "mono" }, clock.format(row.at)) },
				{ key: "name", title: "Event", width: "190px", cell: (row) => h("bdi", { class: "who" }, row.name) },
				{ key: "about", title: "About", width: "2.5fr", class: "medium", cell: (row) => h("bdi", {}, row.about) },
				{ key: "key", title: "Routing key", width: "2.5fr", class: "wide", cell: (row) => h("bdi", { class: "mono muted" }, row.key) },
			],
		});
		const choose = h("form", { class: "panel choose", label: "Subscribe", on: { submit: subscribe } },
			h("label", {}, h("span", { class: "small muted" }, "Binding; put an id in place of a * to narrow it"), binding), list, meaning,
			h("p", { class: "actions" }, h("button", { type: "submit", class: "primary", test: "event-subscribe" }, "Subscribe")), trouble, active,
			h("details", { open: true }, h("summary", {}, "From a program of your own"), h("div", { class: "title" }, h("h3", {}, "The frame"), copier(frame)), frame, h("div", { class: "title" }, tongue, copier(example)), example,
				h("p", { class: "small muted" }, "A token: ", h("code", {}, "blackhole token --account NAME"), ", or PUT /v2/user_auth.")));
		const node = h("section", { class: "events", label: "Events" }, choose,
			h("div", { class: "stream" }, h("div", { class: "bar" }, search, pause, h("button", { on: { click: clear } }, "Clear"), sum), h("div", { class: "board" }, table.node, detail)));

		async function load() {
			try {
				for (const [category, entries] of Object.entries(await rest.get("websockets"))) {
					for (const entry of entries) if (typeof entry.binding === "string") catalogue.set(entry.binding, `${category}: ${entry.event ?? "any"}`);
				}
				catalogue.set("call.*.*", "call: every event of every call");
				if (open) fill(list, [...catalogue].map(([value, words]) => h("option", { value }, words)));
			} catch (error) {
				trouble.textContent = `The catalogue could not be read: ${error.message}. Any binding can be typed all the same.`;
			}
			explain();
		}

		function explain() {
			const wanted = binding.value.trim();
			const text = JSON.stringify({ action: "subscribe", auth_token: "$TOKEN", request_id: "1", data: { account_id: account.id, binding: wanted } });
			frame.textContent = text;
			example.textContent = EXAMPLES[language](gateway.url, text);
			const words = wanted.split(".");
			const like = catalogue.get(wanted) ?? [...catalogue].find(([known]) => known.split(".").length === words.length && known.split(".").every((word, at) => word === words[at] || word === "*"))?.[1];
			meaning.textContent = like ?? "Not in the catalogue: the gateway will say what it makes of it.";
		}

		function copier(source) {
			return h("button", { class: "small", on: { click: () => navigator.clipboard?.writeText(source.textContent).then(() => say("Copied"), () => select(source)) ?? select(source) } }, "Copy");
		}

		/** Where a page may not write to the clipboard, the text is at least marked. */
		function select(source) {
			getSelection().selectAllChildren(source);
			say("Marked: copy it with Ctrl+C");
		}

		function subscribe(event) {
			event.preventDefault();
			const wanted = binding.value.trim();
			trouble.textContent = "";
			if (bindings.has(wanted)) return;
			const one = { count: 0, times: [], rate: h("span", { class: "muted" }) };
			bindings.set(wanted, one);
			one.subscription = gateway.subscribe(account.id, wanted, (came, at) => take(one, came, at));
			one.subscription.ready.catch((error) => {
				bindings.delete(wanted);
				if (open) { trouble.textContent = `${wanted}: ${error.message}`; listed(); }
			});
			listed();
		}

		function listed() {
			fill(active, [...bindings].map(([wanted, one]) => h("li", {}, h("bdi", { class: "mono" }, wanted), one.rate, h("button", { class: "small quiet", label: `Unsubscribe ${wanted}`, on: { click: () => {
				one.subscription.close();
				bindings.delete(wanted);
				listed();
			} } }, "✕"))));
			rates(Date.now());
			draw();
		}

		function rates(now) {
			for (const one of bindings.values()) {
				one.times = one.times.filter((at) => now - at < WINDOW);
				one.rate.textContent = ` ${(one.times.length / (WINDOW / 1000)).toFixed(1)} a second, ${count(one.count)} in all`;
			}
		}

		function take(one, came, at) {
			one.count++;
			if (one.times.length < 50_000) one.times.push(at);
			const { data } = came, text = JSON.stringify(came);
			const who = [data.caller_id_name, data.caller_id_number, data.callee_id_number, data.presence_id, data.status, data.state, data.type, data.id].map((value) => clean(value, 40)).filter(Boolean);
			const into = held ?? rows;
			into.push({ serial: ++serial, at, name: clean(data.event ?? came.name) || "–", key: clean(came.routing_key, 200), about: who.slice(0, 4).join(" · ") || clean(data.call_id), frame: came, search: text.slice(0, 20_000).toLowerCase() });
			if (into.length > KEPT * 1.1) gone += into.splice(0, into.length - KEPT).length;
			update();
		}

		function toggle() {
			if (held) {
				rows = [...rows, ...held].slice(-KEPT);
				held = null;
			} else held = [];
			pause.textContent = held ? "Go on" : "Pause";
			pause.setAttribute("aria-pressed", String(held !== null));
			draw();
		}

		function clear() {
			rows = [];
			gone = 0;
			draw();
		}

		function draw() {
			const wanted = search.value.trim().toLowerCase(), seen = wanted ? rows.filter((row) => row.search.includes(wanted)) : rows;
			fill(table.blank);
			table.show(seen.slice().reverse());
			sum.textContent = [held && `${count(held.length)} waiting`, seen.length < rows.length && `${count(seen.length)} of ${count(rows.length)}`, gone && `${count(gone)} older ones are gone`].filter(Boolean).join(", ");
		}

		function empty() {
			if (rows.length) return blank("No event has that in it", "Esc clears the search.");
			if (gateway.state.name !== "connected") return blank("Not connected", "Subscriptions are made as soon as the gateway is there.");
			return bindings.size ? blank("Nothing has come yet", "The next event that fits a binding appears here.") : blank("Nothing is subscribed to", "Choose a binding and subscribe: every event of it appears here as it comes.");
		}

		function inspect(row) {
			chosen = row;
			detail.hidden = false;
			node.classList.add("split");
			fill(detail, h("div", { class: "title" }, h("h3", {}, h("bdi", {}, row.name)), closer(hide)), h("div", { class: "json mono" }, json(row.frame, 0)));
			detail.querySelector("button").focus({ preventScroll: true });
		}

		function hide() {
			chosen = null;
			detail.hidden = true;
			node.classList.remove("split");
			table.focus();
		}

		/** A value as text; what is in an object is made when it is opened. */
		function json(value, depth) {
			if (value && typeof value === "object") {
				const entries = Object.entries(value), [left, right] = Array.isArray(value) ? "[]" : "{}";
				if (!entries.length) return `${left}${right}`;
				const inner = h("div", { class: "inner" });
				let made = false;
				const make = () => {
					if (made) return;
					made = true;
					fill(inner, entries.slice(0, MOST).map(([key, one]) => h("div", {}, h("span", { class: "muted" }, h("bdi", {}, clean(key, 100)), ": "), json(one, depth + 1))), entries.length > MOST && h("p", { class: "muted" }, `and ${count(entries.length - MOST)} more`));
				};
				if (depth < 2) make();
				return h("details", { open: depth < 2, on: { toggle: make } }, h("summary", {}, `${left} ${count(entries.length)} ${right}`), inner);
			}
			const text = JSON.stringify(value) ?? "";
			if (text.length <= LONG) return h("bdi", { class: typeof value === "string" ? "good" : "plainly" }, text);
			const whole = h("bdi", { class: "good" }, `${text.slice(0, LONG)}…`);
			return [whole, h("button", { class: "small", on: { click: (event) => { whole.textContent = text; event.target.remove(); } } }, `show all ${count(text.length)}`)];
		}

		const update = later(draw, 120);
		gateway.addEventListener("state", update);
		load();
		draw();
		return {
			node,
			focusSearch: () => search.focus(),
			tick: rates,
			escape() { if (chosen) hide(); else { search.value = ""; draw(); } },
			close() {
				open = false;
				gateway.removeEventListener("state", update);
				for (const { subscription } of bindings.values()) subscription?.close();
				update.stop();
				table.close();
			},
		};
	},
};
