// The start of the page: who is there, which account is watched, which view is open.

import { h, fill } from "./lib/dom.js";
import { ago } from "./lib/format.js";
import { Rest } from "./gateway/rest.js";
import { Gateway } from "./gateway/socket.js";
import { Calls } from "./model/calls.js";
import { Conferences } from "./model/conferences.js";
import { Faxes } from "./model/faxes.js";
import { Presence } from "./model/presence.js";
import { loginForm } from "./views/login.js";
import { Shell } from "./views/shell.js";
import { openHelp } from "./views/help.js";
import { Alerts } from "./views/alerts.js";
import { view as calls } from "./views/calls.js";
import { view as conferences } from "./views/conferences.js";
import { view as faxes } from "./views/faxes.js";
import { view as presence } from "./views/presence.js";
import { view as events } from "./views/events.js";
import { view as sockets } from "./views/sockets.js";
import { view as health } from "./views/health.js";

/** In the order of the navigation: digits 1 to 7 open them. */
const VIEWS = [calls, conferences, faxes, presence, events, sockets, health];
/** State that lives as long as an account is watched, whatever view is open. `Model.bindings` feed it; a function when they depend on who is logged in. */
const MODELS = { calls: Calls, conferences: Conferences, faxes: Faxes, presence: Presence };

/** Accounts that are subscribed to one by one when all are watched: a socket may send so many requests at once. */
const MOST_ACCOUNTS = 20;
/** Seconds between two looks at the event source. */
const SOURCE_EVERY = 3;
const ALL = { id: "*", name: "All accounts", realm: null };
const TOKEN = "blackhole.token", ACCOUNT = "blackhole.account", WATCHED = "blackhole.watched", SHORTCUT_WITHIN = 1200;

const root = document.getElementById("app");
let config = null, session = null;

/** One log-in, from the token to the log-out. */
class Session {
	alerts = new Alerts();
	#open = null; #title = ""; #feeds = []; #expected = 0; #relogin = null; #ticks = 0; #sourceLost;

	constructor(rest, me, accounts) {
		Object.assign(this, { rest, me, accounts });
		this.names = new Map(accounts.map(({ id, name }) => [id, name]));
		this.gateway = new Gateway(socketUrl(), rest.token);
		this.shell = new Shell({
			views: VIEWS, accounts: me.superduper ? [ALL, ...accounts] : accounts, me, config,
			go: (key) => this.go(key),
			watch: (id) => this.watch(id),
			again: () => this.logInAgain(),
			retry: () => this.gateway.retry(),
			trust: () => Object.values(this.models).forEach((model) => model.trust?.()),
			help: () => openHelp(VIEWS),
			leave: () => this.leave(),
		});
		rest.addEventListener("unauthorised", () => this.gateway.expire("token expired"));
		this.gateway.addEventListener("state", ({ detail }) => {
			this.shell.connection(detail);
			if (detail.name === "connected") this.#lookAtSource();
		});
		this.gateway.addEventListener("back", ({ detail }) => this.back(detail));
		this.gateway.addEventListener("badframe", ({ detail }) => this.shell.badFrame(detail));
		this.gateway.addEventListener("refused", ({ detail }) => this.shell.say(`The gateway refused ${detail.binding}: ${detail.why}`, "bad"));
	}

	start() {
		fill(root, this.shell.node);
		const wanted = sessionStorage.getItem(ACCOUNT);
		const known = wanted === ALL.id ? this.me.superduper : this.names.has(wanted);
		this.timer = setInterval(() => this.tick(), 1000);
		this.gateway.open();
		this.watch(known ? wanted : this.me.superduper ? ALL.id : this.me.account);
	}

	/** Watches another account: its own models and subscriptions. */
	watch(id) {
		const anew = this.account && ["connected", "connecting"].includes(this.gateway.state.name);
		this.account = id === ALL.id ? ALL : this.accounts.find((account) => account.id === id) ?? this.accounts[0];
		sessionStorage.setItem(ACCOUNT, this.account.id);
		this.#shut();
		this.#feeds.forEach((feed) => feed.close());
		this.models = Object.fromEntries(Object.entries(MODELS).map(([key, Model]) => [key, new Model()]));
		this.#feeds = [];
		for (const [key, { bindings, eachAccount }] of Object.entries(MODELS)) {
			const ids = eachAccount && this.account === ALL ? this.accounts.slice(0, MOST_ACCOUNTS).map(({ id }) => id) : [this.account.id];
			for (const binding of typeof bindings === "function" ? bindings(this.me) : bindings) for (const id of ids) this.#feed(key, binding, id);
			for (const binding of this.watched(key)) this.#feed(key, binding);
		}
		// On a new connection nothing of the other account can still be on its way.
		if (anew) this.gateway.open();
		this.models.calls.onring.add((row) => this.alerts.ring(row));
		this.shell.account(this.account);
		this.show();
	}

	#feed(key, binding, account = this.account.id) {
		const models = this.models;
		const feed = this.gateway.subscribe(account, binding, (frame, now) => models[key].apply(frame, now));
		this.#feeds.push(feed);
		return feed.ready;
	}

	/** Bindings of a model that were asked for beside its own; the window remembers them. */
	watched(key) {
		return JSON.parse(sessionStorage.getItem(`${WATCHED}.${this.account.id}.${key}`) ?? "[]");
	}

	/** Feeds a model from one more binding. */
	async watchMore(key, binding) {
		if (this.watched(key).includes(binding)) return;
		await this.#feed(key, binding);
		sessionStorage.setItem(`${WATCHED}.${this.account.id}.${key}`, JSON.stringify([...this.watched(key), binding]));
	}

	/** Opens the view that the address names. */
	show() {
		const view = VIEWS.find(({ key }) => key === location.hash.slice(1)) ?? VIEWS[0];
		this.#shut();
		const { rest, gateway, me, account, accounts, names, models, alerts } = this;
		const context = { rest, gateway, config, me, account, accounts, names, models, alerts, watched: (key) => this.watched(key), feed: (key, binding) => this.watchMore(key, binding), say: (text, kind) => this.shell.say(text, kind), go: (key) => this.go(key) };
		try {
			this.#open = view.open(context);
		} catch (error) {
			console.error(error);
			this.#open = { node: h("section", { class: "state bad" }, h("h2", {}, "This view did not open"), h("p", {}, error.message)) };
		}
		this.#open.node.dataset.test ??= `view-${view.key}`;
		this.shell.view(view, this.#open.node);
		this.#title = view.title;
		this.alerts.title(view.title, this.models.calls.summary(Date.now()).active);
	}

	go(key) {
		if (location.hash === `#${key}`) this.show();
		else location.hash = key;
	}

	tick() {
		const now = Date.now();
		if (++this.#ticks % SOURCE_EVERY === 0) this.#lookAtSource();
		this.shell.tick(now);
		this.alerts.title(this.#title, this.models.calls.summary(now).active);
		for (const model of Object.values(this.models)) model.tick?.(now);
		if (!document.hidden) this.#open?.tick?.(now);
	}

	/** Sockets stay open while the broker is away, but its events are lost. */
	async #lookAtSource() {
		if (this.gateway.state.name !== "connected") return;
		const answer = await fetch("/readyz", { cache: "no-store" }).then((answer) => answer.json()).catch(() => null);
		const lost = answer?.source?.lost;
		if (lost === undefined || this.ended) return;
		if (lost > this.#sourceLost) {
			for (const model of Object.values(this.models)) model.stale?.(Date.now());
			this.shell.say("The gateway lost its event source: what is marked unsure may have changed. See Health", "bad");
		}
		this.#sourceLost = lost;
	}

	/** What happened while the connection was away is unknown. */
	back({ away, since }) {
		const now = Date.now();
		for (const model of Object.values(this.models)) model.stale?.(now);
		this.shell.away(away, since);
		this.shell.say(`Connected again after ${ago(away)}`);
		this.#open?.refresh?.();
	}

	/** A new token under the open view. */
	logInAgain() {
		if (this.#relogin) return;
		const dialog = this.#relogin = h("dialog", { class: "panel", label: "Log in again", on: { close: () => { dialog.remove(); this.#relogin = null; } } },
			loginForm({
				title: "Log in again", note: "The view stays as it is.", account: this.names.get(this.me.account),
				cancel: () => dialog.close(),
				done: async (token, data) => {
					if (this.ended || !dialog.open) return;
					dialog.close();
					if (data.account_id !== this.me.account) return enter(token);
					keep(token);
					this.rest.token = this.gateway.token = token;
					this.gateway.open();
					Object.assign(this.me, await whoAmI(this.rest).catch(() => null));
					this.#open?.refresh?.();
				},
			}));
		document.body.append(dialog);
		dialog.showModal();
		dialog.querySelector("input").focus();
	}

	async leave() {
		// A gateway that does not answer keeps nobody logged in here.
		this.rest.delete("token_auth").catch(() => {});
		this.end();
		forget();
		logIn();
	}

	end() {
		clearInterval(this.timer);
		this.#shut();
		this.gateway.close();
		this.#relogin?.close();
		this.ended = true;
		if (session === this) session = null;
	}

	/** Returns whether the key meant something. */
	key(event) {
		const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
		if (event.key === "Escape") {
			if (document.querySelector("dialog[open]")) return false;
			typing?.blur();
			this.#open?.escape?.();
			return false;
		}
		if (typing || document.querySelector("dialog[open]")) return false;
		const late = Date.now() > this.#expected;
		const view = late ? VIEWS[Number(event.key) - 1] : VIEWS.find(({ shortcut }) => shortcut === event.key);
		this.#expected = event.key === "g" && late ? Date.now() + SHORTCUT_WITHIN : 0;
		if (view) return this.go(view.key), true;
		if (event.key === "?") return openHelp(VIEWS), true;
		if (event.key === "/" && this.#open?.focusSearch) return this.#open.focusSearch(), true;
		return event.key === "g";
	}

	#shut() {
		this.#open?.close?.();
		this.#open = null;
	}
}

/** On an https page only wss is allowed; else whichever there is. */
function socketUrl() {
	return location.protocol === "https:" ? config.wss ?? config.ws : config.ws ?? config.wss;
}

function keep(token) { sessionStorage.setItem(TOKEN, token); }

function forget() {
	for (const key of Object.keys(sessionStorage)) if (key.startsWith("blackhole.")) sessionStorage.removeItem(key);
}

function logIn(note) {
	document.title = "Log in · blackhole";
	fill(root, h("main", { class: "lone" }, loginForm({ title: "Operator console", note, config, done: enter })));
	root.querySelector("input")?.focus();
}

async function enter(token) {
	session?.end();
	fill(root, h("main", { class: "lone" }, h("p", { class: "muted", role: "status" }, "Logging in …")));
	const rest = new Rest(token);
	try {
		const me = await whoAmI(rest);
		const accounts = await reach(rest, me);
		keep(token);
		session = new Session(rest, me, accounts);
		session.start();
	} catch (error) {
		if (error.status === undefined) console.error(error);
		if (error.status === 401) return forget(), logIn("The log-in has expired.");
		fill(root, h("main", { class: "lone" }, h("section", { class: "panel card" }, h("h1", {}, "The console did not start"), h("p", { role: "alert" }, error.message),
			h("p", { class: "actions" }, h("button", { class: "primary", type: "button", on: { click: () => enter(token) } }, "Try again"), h("button", { on: { click: () => { forget(); logIn(); } } }, "Log in anew")))));
	}
}

async function whoAmI(rest) {
	const token = await rest.get("token_auth");
	// Another issuer's account may not be known here.
	const account = await rest.get(`accounts/${token.account_id}`).catch(orElse({ id: token.account_id, name: token.account_name ?? "Own account" }));
	const owner = token.owner_id ?? null;
	// A token without a user is an API key's or the command's: it may do what an admin may.
	const user = owner && await rest.get(`accounts/${token.account_id}/users/${owner}`).catch(() => null);
	return { account: token.account_id, owner, superduper: account.superduper_admin === true, admin: !owner || user?.priv_level === "admin", name: user?.username ?? null, own: account };
}

/** For what is not there or not allowed; anything else stays an error. */
function orElse(value) {
	return (error) => {
		if (error.status !== 404 && error.status !== 403) throw error;
		return value;
	};
}

/** The own account and all below it, in the order of the tree; for super-duper admins from the top of the tree. */
async function reach(rest, me) {
	const above = me.superduper ? await rest.get(`accounts/${me.account}/parents`).catch(orElse([])) : [];
	const top = above[0] ? await rest.get(`accounts/${above[0].id}`).catch(orElse(me.own)) : me.own;
	const below = await rest.get(`accounts/${top.id}/descendants`, { paginate: "false" }).catch(orElse([]));
	const children = new Map();
	for (const account of below) {
		const parent = account.tree.at(-1);
		children.set(parent, [...(children.get(parent) ?? []), account]);
	}
	const ordered = [];
	const walk = ({ id, name, realm }, depth) => {
		ordered.push({ id, name, realm, depth });
		for (const child of children.get(id) ?? []) walk(child, depth + 1);
	};
	walk(top, 0);
	return ordered;
}

/** Takes a token out of the address before anybody sees it there. */
function tokenOfAddress() {
	const found = /^#token=([^&]+)/.exec(location.hash);
	if (found) history.replaceState(null, "", location.pathname);
	return found && decodeURIComponent(found[1]);
}

addEventListener("hashchange", () => {
	const token = tokenOfAddress();
	if (token) enter(token);
	else session?.show();
});
addEventListener("keydown", (event) => {
	if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
	if (session?.key(event)) event.preventDefault();
});

Shell.theme();
const given = tokenOfAddress();
try {
	const answer = await fetch("/console/config.json", { cache: "no-store" });
	config = await answer.json();
	const token = given ?? sessionStorage.getItem(TOKEN);
	if (token) await enter(token);
	else logIn();
} catch (error) {
	console.error(error);
	fill(root, h("main", { class: "lone" }, h("section", { class: "panel card" }, h("h1", {}, "The console did not start"), h("p", { role: "alert" }, "The gateway does not answer. Is it running?"),
		h("p", { class: "actions" }, h("button", { class: "primary", type: "button", on: { click: () => location.reload() } }, "Try again")))));
}
