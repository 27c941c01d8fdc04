// Conferences and who is in them, out of events.

import { Model, bound, clean, fields } from "./model.js";

/** Kazoo counts seconds from the year 0. */
const GREGORIAN = 62167219200;
const LINGER = 15_000, MAX_CONFERENCES = 500, MAX_MEMBERS = 500;

/**
 * Conferences: { id, account, since, known, locked, ended, stale, members: Map of { id, name, number, talking, muted, deaf, moderator, since } }.
 * `known`: its beginning was seen.
 */
export class Conferences extends Model {
	/** Only super-duper admins may watch conferences that they cannot name. */
	static bindings = (me) => (me.superduper ? ["conference.event.*.*.*"] : []);
	#all = new Map();

	/** In the order of their beginning; ended ones for a while. */
	list() { return [...this.#all.values()]; }

	/** The word for what a member does. */
	static doing({ talking, muted, deaf }) {
		return talking ? "talking" : deaf ? "deaf" : muted ? "muted" : "quiet";
	}

	take(data, frame, now) {
		const id = clean(data.conference_id), event = clean(data.event, 40);
		if (!id || !event) return false;
		let room = this.#all.get(id);
		if (!room || room.ended || event === "conference-create") {
			if (["conference-destroy", "del-member"].includes(event)) return false;
			room = { id, account: clean(data.account_id ?? fields(data.custom_channel_vars).account_id, 40), since: now, known: event === "conference-create", locked: false, ended: 0, members: new Map() };
			this.#all.delete(id);
			this.#all.set(id, room);
			bound(this.#all, MAX_CONFERENCES);
		}
		room.stale = false;
		room.name = clean(data.conference_name) || room.name || "";
		if (event === "conference-destroy") {
			room.ended = now;
			room.members.clear();
		} else if (event === "lock" || event === "unlock") room.locked = event === "lock";
		else if (/-(member|talking)$/.test(event)) this.#member(room, event, data, now);
		return true;
	}

	#member(room, event, data, now) {
		const id = clean(data.participant_id) || clean(data.call_id);
		if (!id) return;
		if (event === "del-member") return room.members.delete(id);
		const member = room.members.get(id) ?? { id, since: now };
		room.members.set(id, member);
		bound(room.members, MAX_MEMBERS);
		member.name = clean(data.caller_id_name) || member.name || "";
		member.number = clean(data.caller_id_number) || member.number || "";
		const vars = fields(data.conference_channel_vars);
		const joined = (vars.join_time - GREGORIAN) * 1000;
		if (joined > 0 && joined < member.since) member.since = joined;
		if (member.since < room.since) room.since = member.since;
		const known = (key, value, turn = (on) => on) => { if (typeof value === "boolean") member[key] = turn(value); };
		known("talking", vars.talking);
		known("muted", vars.speak, (speaks) => !speaks);
		known("deaf", vars.hear, (hears) => !hears);
		known("moderator", vars.is_moderator);
		Object.assign(member, {
			"start-talking": { talking: true }, "stop-talking": { talking: false }, "mute-member": { muted: true, talking: false }, "unmute-member": { muted: false },
			"deaf-member": { deaf: true }, "undeaf-member": { deaf: false },
		}[event]);
	}

	/** After a gap nothing is sure. */
	stale() {
		for (const room of this.#all.values()) room.stale = !room.ended;
		this.changed();
	}

	trust() {
		for (const room of this.#all.values()) room.stale = false;
		this.changed();
	}

	tick(now) {
		let gone = false;
		for (const room of this.#all.values()) if (room.ended && now - room.ended > LINGER) gone = this.#all.delete(room.id);
		if (gone) this.changed();
	}
}
