// Lamps: who is on the phone and whose messages wait, out of events.

import { Model, bound, clean } from "./model.js";

const MAX_LAMPS = 5000, MAX_DIALOGS = 50;
const STATES = { early: "ringing", confirmed: "busy", terminated: "idle" };

/** Lamps: { id, state, since, waiting, stale }. `state`: idle, ringing, busy, or unknown as long as only messages were told of. */
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
		const messages = Number.isFinite(data.messages_new), told = STATES[data.state];
		if (!messages && !told) return false;
		const lamp = this.#all.get(id) ?? { id, state: "unknown", since: now, waiting: null, dialogs: new Map() };
		this.#all.set(id, lamp);
		bound(this.#all, MAX_LAMPS);
		if (messages) lamp.waiting = data.messages_new;
		else this.#dialog(lamp, clean(data.call_id), told, now);
		lamp.stale = false;
		return true;
	}

	/** Busy in one dialog is busy, whatever rings beside it. */
	#dialog(lamp, call, state, now) {
		if (state === "idle") lamp.dialogs.delete(call);
		else lamp.dialogs.set(call, state);
		bound(lamp.dialogs, MAX_DIALOGS);
		const states = [...lamp.dialogs.values()];
		const next = states.includes("busy") ? "busy" : states[0] ?? "idle";
		if (lamp.state !== next) Object.assign(lamp, { state: next, since: now });
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
