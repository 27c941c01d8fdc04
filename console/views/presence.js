// Lamps of the account's people.

import { h, fill } from "../lib/dom.js";
import { ago, clock, count } from "../lib/format.js";
import { later } from "../lib/later.js";
import { blank, searchField } from "../lib/parts.js";
import { clean } from "../model/model.js";

const WORDS = { idle: "free", ringing: "ringing", busy: "on the phone", unknown: "not heard of yet" };
/** Accounts whose users are asked for when all are watched. */
const MOST = 20;
/** Until the users are asked for again. */
const AGAIN = 30_000;
/** Lamps in the document. */
const SHOWN = 600;

/** Who is free, who rings, who talks, and whose messages wait. */
export const view = {
	key: "presence", title: "Presence", shortcut: "p",
	open({ models: { presence: model }, account, accounts, rest, gateway }) {
		let open = true, timer = 0, loading = true, people = new Map(), trouble = "";
		const search = searchField("Name, extension", () => update());
		const state = h("select", { label: "Filter lamps by state", on: { change: () => update() } }, h("option", { value: "" }, "All"), Object.entries(WORDS).map(([value, words]) => h("option", { value }, words)));
		const sum = h("span", { class: "muted small shown" }), lamps = h("ul", { class: "lamps" }), under = h("div", {});
		const node = h("section", { class: "presence", label: "Presence" }, h("div", { class: "bar" }, search, state, sum), lamps, under);

		async function load() {
			trouble = "";
			const all = account.id === "*" ? accounts.slice(0, MOST) : [account];
			for (const { id, realm } of all) {
				try {
					for (const user of await rest.get(`accounts/${id}/users`, { paginate: "false" })) {
						const name = [user.first_name, user.last_name].map((part) => clean(part, 60)).filter(Boolean).join(" ") || clean(user.username);
						const at = clean(user.presence_id) || clean(user.username);
						if (at && realm) people.set((at.includes("@") ? at : `${at}@${realm}`).toLowerCase(), name);
					}
				} catch (error) {
					trouble = error.message;
				}
				if (!open) return;
				update();
			}
			loading = false;
			update();
			timer = setTimeout(load, AGAIN);
		}

		/** Whom a user of the same realm is: a name says more than an extension. */
		function partner(id, other) { return people.get(`${other}${id.slice(id.indexOf("@"))}`.toLowerCase()) || other; }

		function lamp({ id, state, since, other, waiting, stale }, now) {
			const name = people.get(id), title = state === "unknown" ? id : `${id}, since ${clock(since)}`;
			return h("li", { class: `lamp ${state}${stale ? " stale" : ""}`, title, dataset: { test: "lamp", presence: id, state } }, h("span", { class: "bulb", "aria-hidden": "true" }),
				h("span", { class: "whose" }, h("bdi", { class: "who" }, name || id.split("@")[0]), h("bdi", { class: "muted small" }, other ? `with ${partner(id, other)}` : id)),
				h("span", { class: "doing" }, WORDS[state], state !== "unknown" && [" ", h("time", { dataset: { since } }, ago(now - since))], stale && h("span", { class: "doubt" }, " unsure")),
				waiting > 0 && h("span", { class: "tag", title: "New voice messages" }, `✉ ${count(waiting)}`, h("span", { class: "hide" }, " new messages")));
		}

		function draw() {
			const now = Date.now(), wanted = search.value.trim().toLowerCase(), heard = new Set(model.list().map(({ id }) => id));
			const rank = { ringing: 0, busy: 1, idle: 2, unknown: 3 };
			const all = [...model.list(), ...[...people.keys()].filter((id) => !heard.has(id)).map((id) => ({ id, state: "unknown", since: now, waiting: null }))];
			const rows = all.filter((one) => (!state.value || one.state === state.value) && (!wanted || `${one.id}\n${people.get(one.id) ?? ""}`.toLowerCase().includes(wanted)));
			rows.sort((a, b) => people.has(b.id) - people.has(a.id) || (people.get(a.id) ?? a.id).localeCompare(people.get(b.id) ?? b.id) || rank[a.state] - rank[b.state]);
			fill(lamps, rows.slice(0, SHOWN).map((one) => lamp(one, now)));
			const number = (wanted) => all.filter((one) => one.state === wanted).length;
			sum.textContent = all.length ? `${count(number("busy"))} on the phone, ${count(number("ringing"))} ringing, ${count(number("idle"))} free${rows.length > SHOWN ? `; the first ${SHOWN} of ${count(rows.length)} are shown` : ""}` : "";
			fill(under, rows.length ? trouble && h("p", { class: "muted small" }, `The list of users is not complete: ${trouble}`) : empty(all));
		}

		function empty(all) {
			if (all.length) return blank("Nobody is like this", "Esc clears the filter.");
			if (loading) return blank("Looking for users …", "A moment.");
			if (trouble) return blank("The users could not be read", `${trouble}. Lamps appear with their next event.`);
			if (gateway.state.name !== "connected") return blank("Not connected", "Lamps appear as soon as the gateway is there.");
			return blank("No users yet", "This account has none. Lamps of other phones of its realm appear with their next event.");
		}

		const update = later(draw, 150);
		model.onchange.add(update);
		load();
		draw();
		return {
			node,
			focusSearch: () => search.focus(),
			escape() { search.value = state.value = ""; update(); },
			refresh: update,
			tick(now) {
				for (const place of lamps.querySelectorAll("time")) place.textContent = ago(now - place.dataset.since);
			},
			close() {
				open = false;
				clearTimeout(timer);
				model.onchange.delete(update);
				update.stop();
			},
		};
	},
};
