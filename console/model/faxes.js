// Faxes and how far they are, out of events.

import { Model, bound, clean, fields } from "./model.js";

const MAX_FAXES = 1000, LATE = 10_000;

/** Faxes: { id, direction, remote, name, pages, total, state, status, since, last, ended, failed, account, stale }. */
export class Faxes extends Model {
	static bindings = ["fax.status.*"];
	#all = new Map();

	list() { return [...this.#all.values()]; }

	take(data, frame, now) {
		const id = clean(data.job_id);
		if (!id) return false;
		const info = fields(data.fax_info), old = this.#all.get(id), number = (value) => (Number.isFinite(value) ? value : undefined);
		// What is late opens nothing again.
		if (old?.ended && now - old.ended < LATE) return false;
		const fax = old && !old.ended ? old : { id, since: now, pages: 0, version: old?.version };
		this.#all.set(id, fax);
		bound(this.#all, MAX_FAXES);
		fax.direction = clean(data.direction, 20) || fax.direction || "";
		const incoming = fax.direction === "incoming";
		fax.remote = clean(incoming ? data.caller_id_number : data.callee_id_number) || clean(info.fax_remote_station_id) || fax.remote || "";
		fax.name = clean(incoming ? data.caller_id_name : data.callee_id_name) || fax.name || "";
		fax.pages = number(info.fax_transferred_pages) ?? number(data.page) ?? fax.pages;
		fax.total = number(info.fax_total_pages) ?? fax.total;
		fax.state = clean(data.fax_state, 20) || fax.state || "";
		fax.status = clean(data.status, 200);
		fax.account = clean(data.account_id, 40) || fax.account || "";
		fax.last = now;
		fax.stale = false;
		fax.ended = ["end", "error"].includes(fax.state) ? now : 0;
		fax.failed = fax.state === "error" || info.fax_success === false;
		fax.version = (fax.version ?? 0) + 1;
		return true;
	}

	stale() { this.#doubt(true); }

	trust() { this.#doubt(false); }

	#doubt(stale) {
		for (const fax of this.#all.values()) {
			fax.stale = stale && !fax.ended;
			fax.version++;
		}
		this.changed();
	}
}
