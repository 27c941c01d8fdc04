// The frame round every view: navigation, account, connection.

import { h, svg, fill } from "../lib/dom.js";
import { ago, count } from "../lib/format.js";

const THEME = "blackhole.theme";

/** The sign of the product: a hole with its disc. */
export function brand(size = 28) {
	return svg("svg", { class: "brand", viewBox: "0 0 32 32", width: size, height: size, "aria-hidden": "true" },
		svg("ellipse", { class: "disc", cx: 16, cy: 16, rx: 15, ry: 4, transform: "rotate(-20 16 16)" }),
		svg("circle", { class: "hole", cx: 16, cy: 16, r: 8.5 }),
		svg("path", { class: "disc", d: "M1.9 21.1C4 25 16 22 22 19.4C27 17 30.5 13 30.1 10.9" }));
}

/** `actions`: go(key), watch(account), again(), retry(), trust(), help(), leave(). */
export class Shell {
	#state = { name: "connecting" }; #bad = 0; #last = 0;

	constructor({ views, accounts, me, config, ...actions }) {
		this.actions = actions;
		this.links = new Map(views.map((view, index) => [view.key, h("a", { href: `#${view.key}`, title: `${index + 1}, or g ${view.shortcut}`, test: `nav-${view.key}` }, view.title)]));
		this.select = h("select", { label: "Account", title: "The account that is watched", test: "account-switch", on: { change: () => actions.watch(this.select.value) } },
			accounts.map((account) => h("option", { value: account.id }, "\u2003".repeat(account.depth ?? 0) + clip(account.name))));
		this.light = h("span", { class: "light", "aria-hidden": "true" });
		this.words = h("span", {});
		this.act = h("button", { class: "primary small", hidden: true, on: { click: () => (this.#state.name === "expired" ? actions.again() : actions.retry()) } });
		this.bad = h("span", { class: "badframes", hidden: true, test: "bad-frames" });
		this.state = h("span", { class: "pill", dataset: { test: "connection", state: "connecting" } }, this.light, this.words);
		this.notice = h("div", { class: "notice", hidden: true, role: "status", test: "stale-notice" });
		this.live = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
		this.main = h("main", { id: "main", tabindex: -1 });
		const theme = h("button", { class: "quiet", label: "Dark or light", title: "Dark or light", on: { click: () => Shell.theme(true) } }, "◐");
		/** The element to insert. */
		this.node = h("div", { class: "shell" },
			h("header", { class: "top" },
				h("div", { class: "name" }, brand(), h("h1", {}, "blackhole"), config.demo && h("span", { class: "tag", title: "Simulated events" }, "demo")),
				h("nav", { label: "Views" }, [...this.links.values()]),
				h("div", { class: "tools" },
					this.bad, h("span", { class: "where" }, this.state, this.act), this.select, theme,
					h("button", { class: "quiet", label: "Keys and help", title: "Keys and help (?)", on: { click: actions.help } }, "?"),
					h("button", { class: "quiet leave", test: "log-out", title: me.name ? `Logged in as ${me.name}` : "Logged in with a token", on: { click: actions.leave } }, "Log out"))),
			this.notice, this.main, this.live);
	}

	/** Applies the theme that was chosen; `next` chooses the other. */
	static theme(next = false) {
		const dark = () => document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
		const chosen = next ? (dark() ? "light" : "dark") : localStorage.getItem(THEME);
		if (next) localStorage.setItem(THEME, chosen);
		if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
	}

	view({ key }, node) {
		for (const [other, link] of this.links) {
			if (other === key) link.setAttribute("aria-current", "page");
			else link.removeAttribute("aria-current");
		}
		this.links.get(key)?.scrollIntoView({ block: "nearest", inline: "nearest" });
		fill(this.main, node);
	}

	account({ id }) { this.select.value = id; }

	connection(state) {
		const announced = this.#state.name !== state.name;
		this.#state = state;
		this.state.dataset.state = state.name;
		this.#say(Date.now());
		if (announced && state.name === "waiting") this.say("The connection to the gateway is lost; reconnecting", "bad");
		if (announced && state.name === "expired") this.say("The log-in has expired", "bad");
		this.act.textContent = state.name === "expired" ? "Log in again" : "Now";
		this.act.dataset.test = state.name === "expired" ? "log-in-again" : "retry";
		this.act.hidden = !["expired", "waiting"].includes(state.name);
	}

	tick(now) { this.#say(now); }

	#say(now) {
		const { name, until, why, since } = this.#state;
		const words = {
			connecting: since ? "Reconnecting …" : "Connecting …",
			connected: "Connected",
			waiting: `Reconnecting in ${Math.max(0, Math.ceil((until - now) / 1000))} s`,
			expired: "Token expired",
			closed: "Closed",
		}[name];
		if (this.words.textContent !== words) this.words.textContent = words;
		this.state.title = name === "connected" ? `for ${ago(now - since)}` : why ?? "";
	}

	/** A frame that could not be used is told, and hurts nothing. */
	badFrame({ why }) {
		this.#bad++;
		this.bad.hidden = false;
		this.bad.textContent = `${count(this.#bad)} bad frame${this.#bad === 1 ? "" : "s"}`;
		this.bad.title = `The last one: ${why}`;
	}

	/** After a gap: rows that nothing was heard of since are marked. */
	away(ms, since) {
		this.notice.hidden = false;
		fill(this.notice, h("span", {}, "Away for ", h("b", {}, ago(ms)), ". What happened meanwhile is unknown: what is marked ", h("span", { class: "doubt" }, "unsure"), " may have changed or ended."),
			h("button", { class: "small", on: { click: () => { this.notice.hidden = true; this.actions.trust(); } } }, "Dismiss"));
		this.notice.title = `since ${new Date(since).toLocaleTimeString()}`;
	}

	/** A message at the edge, read out by screen readers; `kind` "bad" for trouble. */
	say(text, kind = "") {
		const now = Date.now();
		if (this.live.lastChild?.textContent === text && now - this.#last < 3000) return;
		this.#last = now;
		const toast = h("div", { class: `toast ${kind}`, test: "toast" }, text);
		this.live.append(toast);
		while (this.live.childElementCount > 3) this.live.firstChild.remove();
		setTimeout(() => toast.remove(), 6000);
	}
}

function clip(text) {
	const name = String(text ?? "");
	return name.length > 40 ? `${name.slice(0, 39)}…` : name;
}
