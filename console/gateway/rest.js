// The REST side: Kazoo's envelope in and out.

const MESSAGES = { 0: "The gateway does not answer. Is it running?", 401: "Not logged in, or the log-in has expired.", 403: "Not allowed with this log-in.", 404: "Not there (any more).",
	429: "Too many requests.", 503: "The gateway cannot do it now." };

/** What went wrong: `status` (0: no answer), `message` for people, `data` of the envelope, `retryAfter` in seconds. */
export class RestError extends Error {
	constructor(status, data, retryAfter) {
		super((MESSAGES[status] ?? `The gateway refused (${status}).`) + (retryAfter ? ` Try again in ${retryAfter} s.` : ""));
		Object.assign(this, { status, data, retryAfter });
	}
}

/** A client for `/v2` of the page's own origin. Emits "unauthorised" when the token is worth nothing. */
export class Rest extends EventTarget {
	constructor(token) {
		super();
		this.token = token;
	}

	/** The `data` of the answer; `path` without `/v2`. */
	async get(path, query) { return (await this.envelope(path, query)).data; }
	async put(path, data) { return (await this.send("PUT", path, data)).data; }
	async post(path, data) { return (await this.send("POST", path, data)).data; }
	async delete(path) { return (await this.send("DELETE", path)).data; }

	/** The whole answer, for `missing_nodes` or `next_start_key`. */
	envelope(path, query) {
		const text = query ? `?${new URLSearchParams(query)}` : "";
		return this.send("GET", path + text);
	}

	/** Any request; the whole envelope. */
	async send(method, path, data) {
		const headers = { Accept: "application/json" };
		if (this.token) headers["X-Auth-Token"] = this.token;
		if (data !== undefined) headers["Content-Type"] = "application/json";
		const sent = this.token;
		let answer;
		try {
			answer = await fetch(`/v2/${path.replace(/^\//, "")}`, { method, headers, cache: "no-store", body: data === undefined ? undefined : JSON.stringify({ data }) });
		} catch {
			throw new RestError(0);
		}
		const envelope = await answer.json().catch(() => ({}));
		if (answer.ok) return envelope;
		if (answer.status === 401 && sent && sent === this.token) this.dispatchEvent(new Event("unauthorised"));
		throw new RestError(answer.status === 502 ? 0 : answer.status, envelope.data, Number(answer.headers.get("Retry-After")) || undefined);
	}
}
