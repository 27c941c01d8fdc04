// How the gateway is.

import { h, fill } from "../lib/dom.js";
import { bars } from "../lib/chart.js";
import { ago, bytes, clock, count } from "../lib/format.js";
import { counter, facts } from "../lib/parts.js";
import { by, parse, quantile, total } from "../gateway/metrics.js";

const EVERY = 2000, KEPT = 150, FRESH = 300_000, P = "blackhole_";
const rate = (n) => (n === null ? "–" : n > 0 && n < 10 ? n.toFixed(1) : count(Math.round(n)));

/** What is lost or refused, by reason: the metric, its label, in words. */
const DROPS = [
	["events_dropped_total", "reason", "Event dropped"], ["deliveries_lost_total", "reason", "Delivery lost with its socket"], ["sockets_closed_total", "reason", "Socket closed"],
	["handshakes_refused_total", "reason", "Handshake refused"], ["limits_reached_total", "limit", "Limit reached"],
];
/** What to do about a reason that came up in the last minutes. */
const ADVICE = {
	slow_consumer: "Its client reads too slowly: fewer bindings, or a faster reader.", over_budget: "Clients read too slowly, all together: see Sockets.", write_timeout: "Its client stopped reading.",
	token_expired: "Its client should send a newer token in time.", rate: "A client asks too much.", not_json: "Something publishes what is no JSON.",
	full: "Raise socket.max_open and the limit of open files, or add a node.", account_full: "Raise socket.max_per_account, or share sockets.",
};
/** The last five minutes, also while another view is open; a gap counts as its mean. When a reason came up last. */
const history = { in: [], out: [] }, risen = new Map();
let before = null, at = 0;

/** Reasons that are nobody's trouble. */
const USUAL = ["client", "administrator", "going_away", "restart"];

/** Events in and out, sockets, the broker, drops. */
export const view = {
	key: "health", title: "Health", shortcut: "h",
	open() {
		let timer = 0, open = true, failed = 0;
		const incoming = counter("health-in", "Events in, a second"), outgoing = counter("health-out", "Events out, a second", "good"), sockets = counter("health-sockets", "Open sockets"), latency = counter("health-latency", "Latency, half below");
		const broker = h("section", { class: "panel facts", label: "Event source", dataset: { test: "health-broker", state: "unknown" } }, h("p", { class: "muted" }, "Looking …"));
		const more = h("section", { class: "panel facts", label: "In numbers" }), drops = h("section", { class: "panel facts", label: "Drops and refusals", test: "health-drops" });
		const notice = h("p", { class: "error", role: "alert", hidden: true });
		const node = h("section", { class: "health", tabindex: 0, label: "Health" }, notice, h("div", { class: "counters" }, incoming.node, outgoing.node, sockets.node, latency.node), h("div", { class: "columns" }, broker, more, drops));

		async function look() {
			const first = !before;
			try {
				const [metrics, ready] = await Promise.all(["/metrics", "/readyz"].map((path) => fetch(path, { cache: "no-store", signal: AbortSignal.timeout(8000) })));
				if (!metrics.ok) throw new Error(`/metrics answers ${metrics.status}`);
				const [now, state] = [parse(await metrics.text()), await ready.json()];
				if (!open) return;
				failed = 0;
				show(now, state, Date.now());
			} catch {
				failed ||= Date.now();
				if (!open) return;
				before = null;
			}
			node.classList.toggle("stale", failed > 0);
			notice.hidden = !failed;
			if (failed) notice.textContent = `The gateway has not answered since ${clock(failed)}: these are the last numbers. Is it running?`;
			timer = setTimeout(look, first ? 600 : EVERY);
		}

		function show(now, state, time) {
			const since = (name) => (before ? Math.max(0, total(now, P + name) - total(before, P + name)) / ((time - at) / 1000) : null);
			const flow = { in: since("events_received_total"), out: since("deliveries_total") };
			for (const [key, target, words] of [["in", incoming, "Events in"], ["out", outgoing, "Events out"]]) {
				target.value.textContent = rate(flow[key]);
				if (flow[key] === null) continue;
				const steps = Math.min(KEPT, Math.max(1, Math.round((time - at) / EVERY)));
				history[key] = [...history[key], ...Array(steps).fill(flow[key])].slice(-KEPT);
				fill(target.chart, bars([...Array(KEPT - history[key].length).fill(0), ...history[key]], { label: `${words} a second in the last five minutes: at most ${rate(Math.max(...history[key]))}`, width: 300, height: 40 }));
			}
			incoming.below.textContent = `${count(total(now, `${P}events_received_total`))} since the start; ${rate(since("events_matched_total"))} a second wanted`;
			outgoing.below.textContent = `${count(total(now, `${P}deliveries_total`))} since the start`;
			const transports = [...by(now, `${P}sockets`, "transport")];
			sockets.value.textContent = count(total(now, `${P}sockets`));
			sockets.below.textContent = transports.map(([name, n]) => `${count(n)} ${name}`).join(", ");
			const part = (p) => before && quantile(before, now, `${P}delivery_latency_seconds`, p);
			const ms = (seconds) => (seconds === null ? "–" : `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`);
			latency.value.textContent = ms(part(0.5));
			latency.below.textContent = `99 % below ${ms(part(0.99))}`;
			source(state, time);
			const value = (name) => total(now, P + name);
			fill(more, h("h3", {}, "In numbers"), facts([
				["Subscriptions", count(value("subscriptions"))], ["Bindings on the broker", count(value("source_bindings"))],
				["Wait to be routed", bytes(value("ingress_bytes"))], ["Wait for sockets", `${bytes(value("waiting_bytes"))} for ${count(value("sockets_waiting"))}`],
				["Withheld from other accounts", count(value("events_withheld_total"))], ["Bytes out", bytes(value("delivered_bytes_total"))],
			]));
			const rows = DROPS.flatMap(([name, label, words]) => [...by(now, P + name, label)].filter(([, n]) => n > 0).map(([reason, n]) => {
				if (before && n > (by(before, P + name, label).get(reason) ?? 0)) risen.set(name + reason, time);
				const last = time - risen.get(name + reason), fresh = last < FRESH && !USUAL.includes(reason);
				return [h("div", {}, `${words}: ${reason.replaceAll("_", " ")}`, fresh && h("div", { class: "small" }, `${ago(last)} ago. `, Object.hasOwn(ADVICE, reason) && ADVICE[reason])), h("span", { class: fresh ? "alarm" : "" }, count(n))];
			}));
			fill(drops, h("h3", {}, "Drops and refusals"), rows.length ? facts(rows) : h("p", { class: "good" }, "✓ Nothing was dropped or refused."));
			[before, at] = [now, time];
		}

		function source({ source, nodes, stopping }, time) {
			const since = Date.parse(source.since), away = !source.connected;
			broker.dataset.state = away ? "away" : "connected";
			const kind = source.kind === "amqp" ? "RabbitMQ" : "Embedded event bus";
			fill(broker, h("h3", {}, "Event source"), h("p", { class: away ? "alarm" : "good" }, away ? "✕ " : "✓ ", `${kind}: ${away ? "away" : "connected"} since ${clock(since)}`, h("span", { class: "muted" }, ` (${ago(time - since)})`)),
				away && h("p", {}, h("bdi", {}, source.error ?? "No reason is known."), " Events are lost until it is back; the gateway tries again by itself. See that the broker runs and that the network lets it through."),
				source.refused_bindings > 0 && h("p", { class: "alarm" }, `The broker refuses ${count(source.refused_bindings)} kinds of bindings: its permissions for this user may be too narrow.`),
				stopping && h("p", { class: "alarm" }, "The gateway is stopping."),
				facts([["Lost so far", count(source.lost)], ["Other nodes", nodes.others.length ? nodes.others.join(", ") : "none"]]));
		}

		look();
		return { node, close() { open = false; clearTimeout(timer); } };
	},
};
