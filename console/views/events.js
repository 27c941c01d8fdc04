// The inspector: any bindings, and every event as it comes.

import { h, fill } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { later } from "../lib/later.js";
import { blank, closer, searchField } from "../lib/parts.js";
import { Table } from "../lib/table.js";
import { clean } from "../model/model.js";

const KEPT = 2000, WINDOW = 10_000, LONG = 400, MOST = 200;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

/** What the catalogue's forms mean, by their shape. An operator's own ones stand for themselves. */
const ABOUT = {
	"call.·.{CALL_ID}": "Calls and parked calls", "conference.·.{CONFERENCE_ID}.{CALL_ID}": "One conference, everything", "conference.·.{EVENT}.{CONFERENCE_ID}.{CALL_ID}": "Conferences, one kind of event",
	"conference.·.{CONFERENCE_ID}": "Commands to a conference", "fax.·.{FAX_ID}": "Faxes, page by page", "fax.·.{ACTION}": "Documents of faxes", "object.·.·": "Documents made, edited, deleted",
	"presence.·.{ID}": "Lamps and waiting messages", "registration.·": "Phones that register",
};

/** Programs that do what the inspector does. The token is a placeholder. */
const EXAMPLES = {
	wscat: (url, frame) => `TOKEN=$(blackhole token --account NAME)\nnpx wscat -c ${url} -w 86400 \\\n  -x '${frame.replaceAll("'", "'\\''").replace("$TOKEN", `'"$TOKEN"'`)}'`,
	Python: (url, frame) => `# pip install websockets\nimport asyncio, json, os, websockets\n\nframe = ${frame}\nframe["auth_token"] = os.environ["TOKEN"]\n\nasync def main():\n    async with websockets.connect("${url}") as socket:\n        await socket.send(json.dumps(frame))\n        async for message in socket:\n            print(json.loads(message))\n\nasyncio.run(main())`,
	JavaScript: (url, frame) => `const socket = new WebSocket("${url}");\nconst frame = ${frame};\nframe.auth_token = TOKEN; // PUT /v2/user_auth gives one\nsocket.onopen = () => socket.send(JSON.stringify(frame));\nsocket.onmessage = ({ data }) => console.log(JSON.parse(data));`,
};

/** What an account's inspector keeps while another view is open. */
const kept = new WeakMap();

/** An id as routing keys have it: a dot would begin another word. */
function word(id) {
	return id === "*" || /%[0-9A-F]{2}/i.test(id) ? id : encodeURIComponent(id).replaceAll(".", "%2E");
}

/** What can be subscribed to, and what comes of it. */
export const view = {
	key: "events", title: "Events", shortcut: "e",
	open({ rest, gateway, account, models, say }) {
		const store = kept.get(models) ?? { wanted: [], rows: [], serial: 0, gone: 0 };
		let open = true, { rows, serial, gone } = store, held = null, chosen = null, language = "wscat";
		const bindings = new Map(), forms = new Map();
		const binding = h("input", { value: "call.*.*", required: true, spellcheck: "false", autocomplete: "off", class: "mono", placeholder: "call.CHANNEL_CREATE.*", test: "event-binding", on: { input: () => explain() } });
		const what = h("select", { on: { change: pick } }), parts = h("div", {}), trouble = h("p", { class: "error", role: "alert" });
		const active = h("ul", { class: "plain bindings", label: "Subscribed" });
		const frame = h("pre", { tabindex: 0, label: "The subscribe frame", test: "event-frame" }), example = h("pre", { tabindex: 0, label: "Example", test: "event-example" });
		const tongue = h("select", { label: "Language of the example", on: { change: () => { language = tongue.value; explain(); } } }, Object.keys(EXAMPLES).map((name) => h("option", {}, name)));
		const pause = h("button", { "aria-pressed": "false", test: "event-pause", on: { click: toggle } }, "Pause");
		const search = searchField("Anywhere in an event", () => draw(), "event-search");
		const sum = h("span", { class: "muted small shown", role: "status" });
		const detail = h("section", { class: "detail panel", hidden: true, label: "The event" });
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
			labelled("What", what), parts, labelled("Binding", binding),
			h("p", { class: "actions" }, h("button", { type: "submit", class: "primary", test: "event-subscribe" }, "Subscribe")), trouble, active,
			h("details", { open: innerWidth > 900 }, h("summary", {}, "From a program of your own"), h("div", { class: "title" }, h("b", {}, "The frame"), copier(frame)), frame, h("div", { class: "title" }, tongue, copier(example)), example,
				h("p", { class: "small muted" }, "A token: ", h("code", {}, "blackhole token --account NAME"), ", or PUT /v2/user_auth.")));
		const node = h("section", { class: "events", label: "Events" }, choose,
			h("div", { class: "stream" }, h("div", { class: "bar" }, search, pause, h("button", { on: { click: clear } }, "Clear"), sum), h("div", { class: "board" }, table.node, detail)));

		function labelled(words, control) { return h("label", {}, h("span", { class: "small muted" }, words), control); }

		/** Entries of one shape become one form: literals to choose from, and ids. What is ready to paste has braces where `*` is refused. */
		async function load() {
			try {
				const [plain, ready] = await Promise.all([rest.get("websockets", { format: "list" }), rest.get("websockets")]);
				for (const [category, list] of Object.entries(plain)) list.forEach((text, at) => {
					const words = text.split("."), made = ready[category][at].binding.split("."), shape = words.map((part, place) => (!place || part[0] === "{" ? part : "·")).join(".");
					if (!forms.has(shape)) forms.set(shape, words.map((part, place) => ({ id: part[0] === "{" && part, must: made[place][0] === "{", options: new Set() })));
					words.forEach((part, place) => forms.get(shape)[place].options.add(part));
				});
				if (!open) return;
				fill(what, [...forms.keys()].map((shape) => h("option", { value: shape }, ABOUT[shape] ?? shape)));
				pick();
			} catch (error) {
				trouble.textContent = `The catalogue could not be read: ${error.message} Any binding can be typed all the same.`;
			}
		}

		/** A field for each part of the chosen form that is open. What was typed by hand stays until one of them is used. */
		function pick(event) {
			const write = () => {
				binding.value = places.map(({ id, must, control }) => word(control.value.trim()) || (must ? id : "*")).join(".");
				explain();
			};
			const places = forms.get(what.value).map((place, at) => {
				const { id, must, options } = place, on = { input: write };
				if (id) return { ...place, at, control: h("input", { placeholder: must ? "an id" : "*", spellcheck: "false", on }) };
				// Of presence the gateway takes one kind at a time.
				const any = at > 0 && options.size > 1 && !what.value.startsWith("presence") && h("option", { value: "*" }, "any");
				return { ...place, at, control: h("select", { on }, any, [...options].map((option) => h("option", {}, option))) };
			});
			fill(parts, places.filter(({ id, options }) => id || options.size > 1).map(({ id, at, control }) => labelled(id ? id.slice(1, -1).toLowerCase().replaceAll("_", " ") : at > 1 ? "type" : "kind", control)));
			if (event) write();
		}

		function explain() {
			const text = JSON.stringify({ action: "subscribe", auth_token: "$TOKEN", request_id: "1", data: { account_id: account.id, binding: binding.value.trim() } });
			frame.textContent = text;
			example.textContent = EXAMPLES[language](gateway.url, text);
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
			const wanted = binding.value.trim(), [hole] = /\{\w+\}/.exec(wanted) ?? [];
			trouble.textContent = hole ? `Put an id in place of ${hole}.` : "";
			if (!hole) add(wanted);
		}

		function add(wanted, count = 0) {
			if (bindings.has(wanted)) return;
			const one = { count, times: [], rate: h("span", { class: "muted" }) };
			bindings.set(wanted, one);
			one.subscription = gateway.subscribe(account.id, wanted, (came, at) => take(one, came, at));
			one.subscription.ready.catch((error) => {
				if (bindings.get(wanted) === one) bindings.delete(wanted);
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
			if (into.length > KEPT * 1.1) trim(into);
			update();
		}

		function trim(list) { gone += list.splice(0, Math.max(0, list.length - KEPT)).length; }

		function toggle() {
			if (held) {
				rows.push(...held);
				held = null;
				trim(rows);
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
			fill(detail, h("div", { class: "title" }, h("h2", {}, h("bdi", {}, row.name)), closer(hide)), h("div", { class: "json mono" }, json(row.frame, 0)));
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
		explain();
		load();
		for (const [wanted, total] of store.wanted) add(wanted, total);
		draw();
		return {
			node,
			focusSearch: () => search.focus(),
			tick: rates,
			escape() { if (chosen) hide(); else { search.value = ""; draw(); } },
			close() {
				open = false;
				kept.set(models, { wanted: [...bindings].map(([wanted, one]) => [wanted, one.count]), rows: [...rows, ...held ?? []], serial, gone });
				gateway.removeEventListener("state", update);
				for (const { subscription } of bindings.values()) subscription?.close();
				update.stop();
				table.close();
			},
		};
	},
};
