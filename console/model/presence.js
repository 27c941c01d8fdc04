// Lamps: who is on the phone and whose messages wait, out of events.

import { Model, bound, clean } from "./model.js";

const MAX_LAMPS = 5000, MAX_DIALOGS = 50;
const STATES = { early: "ringing", trying: "ringing", confirmed: "busy", terminated: "idle", online: "idle", offline: "unknown" };

/** Lamps: { id, state, since, other, waiting, stale }. `state`: idle, ringing, busy, or unknown; `other`: who is at the other end. */
export class Presence extends Model {
	/** Their keys carry a realm, which only an account has: not to be had for all at once. */
	static eachAccount = true;
	static bindings = ["presence.dialog.*", "presence.update.*", "presence.mwi_updates.*"];
	#all = new Map();

	list() { return [...this.#all.values()]; }

	get(id) { return this.#all.get(id); }

	take(data, frame, now) {
		const id = clean(data.presence_id).replace(/^sips?:/, "").toLowerCase();
		if (!id) return false;
		const messages = Number.isFinite(data.messages_new), told = Object.hasOwn(STATES, data.state) && STATES[data.state];
		if (!messages && !told) return false;
		const lamp = this.#all.get(id) ?? { id, state: "unknown", since: now, waiting: null, dialogs: new Map() };
		this.#all.set(id, lamp);
		bound(this.#all, MAX_LAMPS);
		if (messages) lamp.waiting = data.messages_new;
		else {
			this.#dialog(lamp, clean(data.call_id), told, other(data, id), now);
			lamp.stale = false;
		}
		return true;
	}

	/** Busy in one dialog is busy, whatever rings beside it. An end that names no call ends them all. */
	#dialog(lamp, call, state, other, now) {
		if (state === "idle" && call) lamp.dialogs.delete(call);
		else if (state === "idle" || state === "unknown") lamp.dialogs.clear();
		else lamp.dialogs.set(call, { state, other: other || lamp.dialogs.get(call)?.other || "" });
		bound(lamp.dialogs, MAX_DIALOGS);
		const all = [...lamp.dialogs.values()], first = all.find((one) => one.state === "busy") ?? all[0];
		const next = first?.state ?? (state === "unknown" ? state : "idle");
		if (lamp.state !== next) Object.assign(lamp, { state: next, since: now });
		lamp.other = first?.other ?? "";
	}

	stale() {
		// Dialogs may have ended meanwhile: what is heard next counts alone.
		for (const lamp of this.#all.values()) {
			lamp.stale = true;
			lamp.dialogs.clear();
		}
		this.changed();
	}

	trust() {
		for (const lamp of this.#all.values()) lamp.stale = false;
		this.changed();
	}
}

/** Who is at the other end: of `from` and `to`, the one that is not the lamp's. */
function other(data, id) {
	const own = id.split("@")[0];
	return [data.direction === "initiator" ? data.to_user : data.from_user, data.from_user, data.to_user].map((user) => clean(user, 60)).find((user) => user && user !== own) ?? "";
}
