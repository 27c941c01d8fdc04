// Conferences: a card each, with everybody in it.

import { h, fill } from "../lib/dom.js";
import { clock, count, duration, short } from "../lib/format.js";
import { later } from "../lib/later.js";
import { blank, searchField } from "../lib/parts.js";
import { Conferences } from "../model/conferences.js";

const WORDS = { talking: "talking", muted: "muted", deaf: "deaf", quiet: "listening" };
const SIGNS = { talking: "◉", muted: "⊘", deaf: "◌", quiet: "○" };

/** Who is in which conference, and who talks. */
export const view = {
	key: "conferences", title: "Conferences", shortcut: "o",
	open({ models: { conferences: model }, me, account, names, gateway, feed, watched, config }) {
		let wanted = "";
		const search = searchField("Conference, name, number", () => { wanted = search.value.trim().toLowerCase(); update(); });
		const cards = h("div", { class: "cards" });
		const id = h("input", { required: true, placeholder: "id of a conference", label: "Id of a conference to watch", test: "conference-id" });
		const trouble = h("span", { class: "error", role: "alert" });
		const byId = me.superduper ? null : h("form", { class: "bar", on: { submit: (event) => {
			event.preventDefault();
			const binding = `conference.event.${id.value.trim()}.*`;
			trouble.textContent = "";
			feed("conferences", binding).then(() => { id.value = ""; update(); }, (error) => { trouble.textContent = error.message; });
		} } }, id, h("button", { type: "submit" }, "Watch"), h("span", { class: "muted small" }, "The gateway shows all conferences to super-duper admins only. Others name the ones to watch."), trouble);
		const node = h("section", { class: "conferences", label: "Conferences" }, h("div", { class: "bar" }, search), byId, cards);

		function card(room) {
			const members = [...room.members.values()];
			return h("article", { class: `panel conference${room.ended ? " over" : ""}${room.stale ? " stale" : ""}`, dataset: { test: "conference-card", conference: room.id } },
				h("header", { class: "title" }, h("h2", {}, h("bdi", {}, room.name || `Room ${short(room.id, 6)}`)), room.locked && h("span", { class: "tag" }, "locked"), room.stale && h("span", { class: "doubt" }, "unsure"),
					h("span", { class: "time", dataset: { since: room.since, least: room.known ? null : true } }, time(room, Date.now()))),
				h("p", { class: "muted small" }, account.id === "*" && h("bdi", {}, names.get(room.account) ?? room.account), account.id === "*" && " · ", room.ended ? "ended" : `${count(members.length)} ${members.length === 1 ? "member" : "members"}`),
				h("ul", {}, members.map((member) => {
					const doing = Conferences.doing(member);
					return h("li", { class: doing, title: `in since ${clock(member.since)}`, dataset: { test: "conference-member", state: doing } }, h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[doing]),
						h("bdi", { class: "who" }, member.name || member.number || "unknown"), member.name && member.name !== member.number && h("bdi", { class: "muted" }, member.number), member.moderator && h("span", { class: "tag", title: "Moderator" }, "★", h("span", { class: "hide" }, " moderator")), h("span", { class: "doing" }, WORDS[doing]));
				})));
		}

		function time(room, now) { return `${room.known ? "" : "≥ "}${duration((room.ended || now) - room.since)}`; }

		function fits(room) {
			return !wanted || [room.id, room.name, ...[...room.members.values()].flatMap(({ name, number }) => [name, number])].join("\n").toLowerCase().includes(wanted);
		}

		function empty(all) {
			if (all.length) return blank("No conference is like this", "Esc clears the filter.");
			if (gateway.state.name !== "connected") return blank("Not connected", "Conferences appear here as soon as the gateway is there.");
			if (byId && !watched("conferences").length) return blank("No conference is watched", "Name one above, by its id.");
			return blank("Nobody is in a conference", config.demo ? "The simulation opens one now and then." : "A conference that is already going on appears with its next event.");
		}

		function draw() {
			const all = model.list(), rooms = all.filter(fits);
			fill(cards, rooms.length ? rooms.map(card) : empty(all));
		}

		const update = later(draw);
		model.onchange.add(update);
		gateway.addEventListener("state", update);
		draw();
		return {
			node,
			focusSearch: () => search.focus(),
			escape() { search.value = wanted = ""; update(); },
			tick(now) {
				for (const place of cards.querySelectorAll(".conference:not(.over) .time")) place.textContent = `${place.dataset.least ? "≥ " : ""}${duration(now - place.dataset.since)}`;
			},
			close() {
				model.onchange.delete(update);
				gateway.removeEventListener("state", update);
				update.stop();
			},
		};
	},
};
