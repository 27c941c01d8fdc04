// Calls out of events. Events may be late, missing, twice or hostile: what is here copes, and never throws.

import { Model, clean } from "./model.js";

const LINGER = 15_000, LATE = 2_000, HOUR = 60, MAX_LEGS = 20_000, MAX_ENDED = 500, MAX_EVENTS = 2_000, MAX_PAST = 4_000, MAX_MEMBERS = 16;

/** Others say it well enough themselves. */
const CAUSES = {
	NORMAL_CLEARING: "Hung up", ORIGINATOR_CANCEL: "Caller gave up", NO_USER_RESPONSE: "No response", USER_BUSY: "Busy", CALL_REJECTED: "Rejected", UNALLOCATED_NUMBER: "No such number",
	NO_ROUTE_DESTINATION: "No route", USER_NOT_REGISTERED: "Phone not registered", NORMAL_CIRCUIT_CONGESTION: "All lines busy", INCOMPATIBLE_DESTINATION: "No common codec",
	LOSE_RACE: "Answered elsewhere", PICKED_OFF: "Picked up elsewhere", BLIND_TRANSFER: "Transferred", ATTENDED_TRANSFER: "Transferred", NORMAL_UNSPECIFIED: "Ended", UNSPECIFIED: "Ended", NONE: "Ended",
};

/** The states of a call, in the order of its life. */
export const STATES = ["ringing", "answered", "bridged", "held", "parked", "ended"];

/** A hang-up cause in words. */
export function causeInWords(cause) {
	if (!cause) return "Ended";
	const words = Object.hasOwn(CAUSES, cause) ? CAUSES[cause] : cause.replaceAll("_", " ").toLowerCase();
	return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * Rows: { id, state, since, stateSince, known, mid, stale, caller, callee: {name, number}, direction, user, account, accountName, slot, cause, endedAt, legs, search }.
 * `version` changes with anything else.
 * `mid`: first seen in the middle of its life; `known`: its beginning is known all the same.
 */
export class Calls extends Model {
	static bindings = ["call.*.*"];
	/** Called with a row that begins to ring from outside. */
	onring = new Set();
	/** Since when the numbers of the hour are counted. */
	from;
	#rows = new Set(); #legs = new Map(); #past = new Map(); #groups = new Map(); #named = new Map(); #minutes = new Map(); #events = []; #serial = 0;

	/** There was a gap: nothing that is here is certain any more. */
	stale() {
		for (const row of this.#rows) this.#doubt(row, row.state !== "ended");
		this.changed();
	}

	/** The operator takes what is here for true. */
	trust() {
		for (const row of this.#rows) this.#doubt(row, false);
		this.changed();
	}

	/** Takes a call off the board. */
	remove(id) {
		const row = this.find(id);
		if (row) this.#drop(row);
		this.changed();
	}

	/** Lets finished calls go; once a second. */
	tick(now) {
		this.from ??= now;
		let gone = false;
		for (const row of this.#rows) {
			if (row.state === "ended" && now - row.endedAt > LINGER) gone = this.#drop(row);
		}
		for (const minute of this.#minutes.keys()) if (minute < Math.floor(now / 60_000) - HOUR) this.#minutes.delete(minute);
		if (gone) this.changed();
	}

	/** All rows, finished ones too. */
	rows() { return [...this.#rows]; }

	/** The row that is, or holds, this Call-ID. */
	find(id) {
		const leg = this.#legs.get(id);
		return leg?.row ?? [...this.#rows].find((row) => row.id === id);
	}

	/** The last events of a row, the newest first: { name, at, data }. */
	events(row, most = 12) {
		const ids = new Set(row.legs.map(({ id }) => id));
		return this.#events.filter(({ id }) => ids.has(id)).slice(-most).reverse();
	}

	/** Numbers for the counters: by state, the longest wait and whose, and sixty minutes of calls started, answered and missed. */
	summary(now) {
		const states = Object.fromEntries(STATES.map((state) => [state, 0]));
		let active = 0, longest = null;
		for (const row of this.#rows) {
			states[row.state]++;
			if (row.state === "ended") continue;
			active++;
			const waits = row.state === "ringing" || row.state === "held" || row.state === "parked";
			if (waits && !row.stale && (!longest || row.stateSince < longest.stateSince)) longest = row;
		}
		const last = Math.floor(now / 60_000);
		const series = (key) => Array.from({ length: HOUR }, (_, at) => this.#minutes.get(last - HOUR + 1 + at)?.[key] ?? 0);
		return { active, states, longest, started: series("started"), answered: series("answered"), missed: series("missed") };
	}

	take(data, frame, now) {
		if (!data || typeof data !== "object") return false;
		const name = clean(frame.name, 40) || clean(data.event_name, 40);
		const id = typeof data.call_id === "string" ? data.call_id.slice(0, 400) : "";
		if (!id || !/^(CHANNEL|PARK)_/.test(name)) return false;
		let leg = this.#legs.get(id);
		const ended = leg?.ended || this.#past.get(id);
		// Ids may come again; an event that is only late begins nothing.
		if (ended && name === "CHANNEL_CREATE" && now - ended > LATE) {
			if (leg) this.#drop(leg.row);
			this.#past.delete(id);
			leg = undefined;
		} else if (!leg && ended) return false;
		if (!leg) {
			if (name === "CHANNEL_DESTROY" || name === "PARK_ABANDONED") return this.#forget(id, now), false;
			leg = this.#meet(id, name, data, now);
		}
		this.#events.push({ id, name, at: now, data: bounded(data, 0) });
		if (this.#events.length > MAX_EVENTS * 1.25) this.#events.splice(0, this.#events.length - MAX_EVENTS);
		leg.seen = now;
		leg.last = name;
		learn(leg, data, frame);
		const other = this.#other(leg, data, name, now);
		const row = leg.row;
		this.#step(leg, other, name, data, now);
		for (const touched of new Set([row, leg.row, other?.row])) {
			if (!touched || !this.#rows.has(touched)) continue;
			touched.stale = false;
			this.#settle(touched, now, name);
		}
		if (name === "CHANNEL_CREATE" && leg.row.id === id && leg.direction === "inbound" && leg.row.legs.length === 1) for (const listener of this.onring) listener(leg.row);
		return true;
	}

	#meet(id, name, data, now) {
		const leg = { id, serial: ++this.#serial, start: now, known: name === "CHANNEL_CREATE", mid: name !== "CHANNEL_CREATE", answered: 0, held: false, slot: "", peer: null, ended: 0 };
		// Kazoo's own clock tells how long it has been: no need to trust that it agrees with ours.
		const age = number(data.timestamp) * 1000 - number(data.channel_created_time) / 1000;
		if (leg.mid && age >= 0 && age < 7 * 86_400_000) Object.assign(leg, { start: now - age, known: true });
		this.#legs.set(id, leg);
		this.#row(leg, now);
		if (this.#legs.size > MAX_LEGS) this.#drop(this.#legs.values().next().value.row);
		return leg;
	}

	#row(leg, now) {
		const row = { id: leg.id, version: 0, legs: [leg], main: leg, state: "", since: leg.start, stateSince: now, counted: {} };
		leg.row = row;
		this.#rows.add(row);
		if (leg.known && !leg.mid && !leg.split) this.#count(row, "started", now);
		return row;
	}

	/** The other leg that an event names, joined into one row with this one. */
	#other(leg, data, name, now) {
		const bridge = name === "CHANNEL_BRIDGE";
		const id = [data.other_leg_call_id, bridge && data.bridge_b_unique_id].find((value) => typeof value === "string" && value && value !== leg.id)?.slice(0, 400);
		let other = id ? this.#legs.get(id) : undefined;
		if (!other && id && bridge && !leg.ended && !this.#past.has(id)) {
			other = this.#meet(id, name, data, now);
			Object.assign(other, { known: false, start: now, account: leg.account, accountName: leg.accountName, direction: clean(data.other_leg_direction, 20) || "outbound",
				caller: { name: clean(data.other_leg_caller_id_name), number: clean(data.other_leg_caller_id_number) }, callee: { name: "", number: clean(data.other_leg_destination_number) } });
		}
		const group = clean(data.interaction_id, 100);
		if (!other && !id && group && name === "CHANNEL_CREATE") {
			// A leg that rings on behalf of a call says so only by the interaction that both belong to.
			const first = this.#legs.get(this.#groups.get(group));
			if (first && first !== leg && !first.ended && leg.direction === "outbound") other = first;
			else remember(this.#groups, group, leg.id);
		}
		// The page was not there when the other leg began: it joins when something is heard of it.
		if (id && !other && !leg.ended) remember(this.#named, leg.named = id, leg);
		const naming = this.#named.get(leg.id);
		if (naming && naming === this.#legs.get(naming.id)) other ??= naming;
		if (!other || other.ended && !bridge) return null;
		if (other.row !== leg.row) this.#join(leg, other, bridge, now);
		return other;
	}

	#join(one, two, bridge, now) {
		const [first, second] = rank(one) <= rank(two) ? [one, two] : [two, one];
		const busy = (leg, than) => leg.row.main !== leg && !leg.row.main.ended && leg.row.main.peer && leg.row.main.peer !== leg && leg.row.main.peer !== than;
		if (bridge && busy(first, second)) this.#leave(first, now);
		const from = second.row, to = first.row;
		const rest = from.legs.filter((leg) => leg !== second && !leg.ended && (bridge || from.main !== second));
		const moved = rest.length ? [second] : from.legs;
		from.legs = from.legs.filter((leg) => !moved.includes(leg));
		for (const leg of moved) { leg.row = to; to.legs.push(leg); }
		this.#trim(to);
		to.main = to.legs.reduce((best, leg) => (rank(leg) < rank(best) ? leg : best));
		to.id = to.main.id;
		if (!from.legs.length) {
			// It was one call all the time.
			for (const key of Object.keys(from.counted)) {
				if (to.counted[key] !== undefined || key !== "started") this.#uncount(from, key);
				else to.counted[key] = from.counted[key];
			}
			this.#rows.delete(from);
		} else {
			from.main = from.legs.reduce((best, leg) => (rank(leg) < rank(best) ? leg : best));
			from.id = from.main.id;
			this.#settle(from, now);
		}
	}

	/** A leg that goes on with somebody else than its row. */
	#leave(leg, now) {
		const row = leg.row;
		row.legs = row.legs.filter((one) => one !== leg);
		leg.split = true;
		this.#row(leg, now);
	}

	#trim(row) {
		while (row.legs.length > MAX_MEMBERS) {
			const [leg] = row.legs.splice(Math.max(1, row.legs.findIndex((one) => one.ended)), 1);
			this.#legs.delete(leg.id);
		}
	}

	#step(leg, other, name, data, now) {
		const part = (one) => {
			const peer = one.peer;
			one.peer = null;
			if (peer?.peer === one) peer.peer = null;
		};
		switch (name) {
			case "CHANNEL_ANSWER":
				leg.answered ||= now;
				break;
			case "CHANNEL_BRIDGE":
				for (const one of [leg, other]) if (one) {
					if (one.peer !== (one === leg ? other : leg)) part(one);
					Object.assign(one, { answered: one.answered || now, held: false, slot: "" });
				}
				if (other) Object.assign(leg, { peer: other }), Object.assign(other, { peer: leg });
				else leg.joined = true;
				break;
			case "CHANNEL_HOLD":
			case "CHANNEL_UNHOLD":
				leg.held = name === "CHANNEL_HOLD";
				leg.answered ||= now;
				break;
			case "PARK_PARKED":
				part(leg);
				Object.assign(leg, { slot: clean(data.parking_slot, 20) || "?", held: false, answered: leg.answered || now });
				break;
			case "PARK_RETRIEVED":
			case "PARK_ABANDONED":
				leg.slot = "";
				if (name === "PARK_ABANDONED") leg.abandoned = true;
				break;
			case "CHANNEL_DESTROY":
				part(leg);
				Object.assign(leg, { ended: now, held: false, slot: "", cause: clean(data.hangup_cause, 60), code: clean(data.hangup_code, 40), talked: seconds(data.billing_seconds) });
				break;
		}
	}

	/** What the row is, from its legs. */
	#settle(row, now, name) {
		const live = row.legs.filter((leg) => !leg.ended);
		const main = row.main, shown = live.includes(main) ? main : live[0] ?? main;
		const has = (test) => live.some(test);
		const state = !live.length ? "ended" : has((leg) => leg.slot) ? "parked" : has((leg) => leg.held) ? "held" : has((leg) => leg.peer && !leg.peer.ended || leg.joined) ? "bridged" : has((leg) => leg.answered) ? "answered" : "ringing";
		if (state !== row.state) {
			row.state = state;
			row.stateSince = state === "ringing" ? Math.min(...live.map((leg) => leg.start)) : now;
		}
		if (state !== "ringing" && state !== "ended" && row.counted.answered === undefined) {
			// Whoever was talking when first seen was answered some other time.
			if (name === "CHANNEL_ANSWER" || !main.mid) this.#count(row, "answered", now);
			else row.counted.answered = null;
		}
		const peer = shown.peer ?? live.find((leg) => leg !== shown) ?? row.legs.findLast((leg) => leg !== shown);
		const party = peer && (peer.direction === "inbound" ? peer.caller : peer.callee);
		row.caller = filled(shown.caller) ? shown.caller : peer?.caller ?? {};
		row.callee = filled(party) && (peer.peer === shown || !filled(shown.callee)) ? party : shown.callee ?? {};
		row.direction = heading(main, row.legs);
		row.user = [main, peer].filter((leg) => leg?.side !== "resource").map((leg) => leg?.presence?.split("@")[0] || leg?.user).find(Boolean) ?? "";
		row.account = main.account || peer?.account || "";
		row.accountName = main.accountName || peer?.accountName || "";
		row.slot = live.find((leg) => leg.slot)?.slot ?? "";
		row.mid = main.mid;
		row.known = main.known;
		row.since = main.start;
		row.search = row.legs.flatMap((leg) => [leg.caller?.name, leg.caller?.number, leg.callee?.name, leg.callee?.number, leg.user, leg.presence, leg.owner, leg.id, leg.slot && `slot ${leg.slot}`])
			.concat(row.accountName, row.direction, row.state).filter(Boolean).join("\n").toLowerCase();
		if (state === "ended" && !row.endedAt) this.#end(row, now);
		row.version = ++this.#serial;
	}

	#end(row, now) {
		row.endedAt = now;
		row.stale = false;
		const talked = row.legs.some((leg) => leg.answered || leg.talked > 0);
		// A leg that rang for a call that was never seen says nothing of that call.
		const alone = row.legs.length === 1 && row.main.named && row.main.direction === "outbound";
		row.missed = !talked && !alone;
		if (row.missed) this.#count(row, "missed", now);
		row.cause = row.legs.some((leg) => leg.abandoned) ? "Gave up while parked" : causeInWords(row.main.cause || row.legs.at(-1).cause);
		const ended = [...this.#rows].filter(({ state }) => state === "ended");
		if (ended.length > MAX_ENDED) this.#drop(ended[0]);
	}

	#drop(row) {
		this.#rows.delete(row);
		for (const leg of row.legs) {
			this.#legs.delete(leg.id);
			if (leg.ended) this.#forget(leg.id, leg.ended);
		}
		return true;
	}

	/** Late events of a leg that has ended must not bring it back. */
	#forget(id, ended) {
		remember(this.#past, id, ended);
	}

	#count(row, key, now) {
		const minute = Math.floor(now / 60_000);
		const bucket = this.#minutes.get(minute) ?? { started: 0, answered: 0, missed: 0 };
		bucket[key]++;
		row.counted[key] = minute;
		this.#minutes.set(minute, bucket);
	}

	#uncount(row, key) {
		const bucket = this.#minutes.get(row.counted[key]);
		if (bucket) bucket[key]--;
	}

	#doubt(row, stale) {
		row.stale = stale;
		row.version = ++this.#serial;
	}

}

/** The oldest entries make room. */
function remember(map, key, value) {
	map.set(key, value);
	if (map.size > MAX_PAST) map.delete(map.keys().next().value);
}

/** As people see it: from outside, to outside, or between two of the house. Kazoo's own direction, which is the switch's, where that is not known. */
function heading(main, legs) {
	if (main.side === "resource") return "inbound";
	const others = legs.filter((leg) => leg !== main && leg.side);
	if (others.some((leg) => leg.side === "resource")) return "outbound";
	if (!main.side) return main.direction || "";
	// Nobody else is there yet: short numbers are the house's own.
	return others.length || (main.callee?.number ?? "").length < 6 ? "internal" : "outbound";
}

/** The inbound leg is the call, or else the first. */
function rank(leg) { return (leg.direction === "inbound" ? 0 : 1e12) + leg.serial; }

function filled(party) { return Boolean(party && (party.name || party.number)); }

function seconds(value) { return Math.max(0, number(value) || 0); }

function number(value) { return typeof value === "number" || typeof value === "string" ? Number(value) : NaN; }

/** Facts of a leg; a later event that lacks one leaves what was known. */
function learn(leg, data, frame) {
	const vars = data.custom_channel_vars && typeof data.custom_channel_vars === "object" ? data.custom_channel_vars : {};
	const known = (key, value) => { if (value) leg[key] = value; };
	const party = (kind, fallback) => {
		const name = clean(data[`${kind}_id_name`]), number = clean(data[`${kind}_id_number`]) || fallback || "";
		if (name || number) leg[kind] = { name: name ? (name === number ? "" : name) : number === leg[kind]?.number ? leg[kind].name : "", number };
	};
	const user = (address) => clean(address).split("@")[0].replace(/^sips?:/, "");
	known("direction", clean(data.call_direction, 20));
	party("caller", leg.caller?.number ?? user(data.from));
	party("callee", leg.callee?.number ?? (user(data.request) || user(data.to)));
	known("user", clean(vars.username, 60));
	known("side", clean(vars.authorizing_type, 20) || (vars.resource_id ? "resource" : ""));
	known("owner", clean(vars.owner_id, 40));
	known("presence", clean(data.presence_id));
	known("account", clean(vars.account_id ?? data.account_id, 40) || /^call\.([0-9a-f]{32})\./.exec(clean(frame.routing_key, 200))?.[1]);
	known("accountName", clean(vars.account_name, 60));
	known("server", clean(data.media_server));
	known("agent", clean(data.user_agent));
}

/** A copy without endless texts, lists or depths. */
function bounded(value, depth) {
	if (typeof value === "string") return value.length > 2000 ? `${value.slice(0, 2000)}… (${value.length} characters)` : value;
	if (!value || typeof value !== "object") return value;
	if (depth > 4) return "…";
	if (Array.isArray(value)) return value.slice(0, 100).map((one) => bounded(one, depth + 1));
	return Object.fromEntries(Object.entries(value).slice(0, 200).map(([key, one]) => [key.slice(0, 200), bounded(one, depth + 1)]));
}
