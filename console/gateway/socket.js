// The page's one WebSocket: it comes back by itself and subscribes again.

const KEEP_ALIVE = 25_000, ANSWER_WITHIN = 10_000, LONGEST = 15_000;

/**
 * `state`: {name:"connecting", since?} | {name:"connected", since} | {name:"waiting", until, why, since} | {name:"expired", why} | {name:"closed"}.
 * Events: "state"; "back" ({away, since}: all is subscribed again); "badframe" ({text, why}); "refused" ({account, binding, why}).
 */
export class Gateway extends EventTarget {
	#socket = null; #timer = 0; #beat = 0; #tries = 0; #lost = 0; #requests = 0; #waiting = new Map(); #subscriptions = new Map();

	constructor(url, token) {
		super();
		/** Where it connects to. */
		this.url = url;
		/** As it is listed among the sockets. */
		this.name = `console ${Math.random().toString(36).slice(2, 8)}`;
		this.token = token;
		this.state = { name: "closed" };
		addEventListener("online", () => this.retry());
	}

	/** Connects; after "expired" with a newer `token`. */
	open() {
		clearTimeout(this.#timer);
		this.#drop();
		this.#become({ name: "connecting", since: this.#lost || undefined });
		let socket;
		try {
			socket = this.#socket = new WebSocket(this.url);
		} catch (error) {
			return this.#again(0, error.message);
		}
		socket.onopen = () => this.#greet(socket);
		socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
		socket.onclose = ({ code, reason }) => {
			if (socket !== this.#socket) return;
			this.#drop();
			if (code === 4401) this.#expire(reason || "token expired");
			else this.#again(code, reason);
		};
	}

	/** Connects now instead of when the pause is over. */
	retry() {
		if (this.state.name === "waiting") this.open();
	}

	/** Ends it for good, and forgets who listens. */
	close() {
		clearTimeout(this.#timer);
		this.#subscriptions.clear();
		this.#drop();
		this.#lost = 0;
		this.#become({ name: "closed" });
	}

	/** REST has learnt that the token is worth nothing. */
	expire(why) {
		if (this.state.name === "expired" || this.state.name === "closed") return;
		this.#drop();
		this.#expire(why);
	}

	/**
	 * `handler(frame, receivedAt)` gets the events of `binding`, now and after every reconnect, until `close()`.
	 * `ready` resolves with what is subscribed, or rejects with the gateway's words. Several may share one.
	 */
	subscribe(account, binding, handler) {
		const key = `${account} ${binding}`;
		let entry = this.#subscriptions.get(key);
		if (!entry) {
			entry = { account, binding, handlers: new Set() };
			entry.ready = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
			entry.ready.catch(() => {});
			this.#subscriptions.set(key, entry);
			if (this.state.name === "connected") this.#bind(entry);
		}
		const listener = { handler };
		entry.handlers.add(listener);
		return {
			ready: entry.ready,
			close: () => {
				if (!entry.handlers.delete(listener) || entry.handlers.size || this.#subscriptions.get(key) !== entry) return;
				this.#subscriptions.delete(key);
				if (this.state.name === "connected") this.#request("unsubscribe", { account_id: account, binding }).catch(() => {});
			},
		};
	}

	#greet(socket) {
		this.#request("ping", undefined, { auth_token: this.token, name: this.name }).then(async () => {
			// Connected is who gets what was asked for, also what was asked for meanwhile.
			const unbound = () => [...this.#subscriptions.values()].filter((entry) => entry.on !== socket);
			while (socket === this.#socket && unbound().length) await Promise.all(unbound().map((entry) => this.#bind(entry)));
			if (socket !== this.#socket) return;
			const since = this.#lost;
			this.#lost = this.#tries = 0;
			this.#become({ name: "connected", since: Date.now() });
			this.#beat = setInterval(() => this.#alive(socket), KEEP_ALIVE);
			if (since) this.#tell("back", { since, away: Date.now() - since });
		}, (error) => {
			if (socket !== this.#socket) return;
			this.#drop();
			if (/token/.test(error.message)) this.#expire(error.message.replace("failed to authenticate ", ""));
			else this.#again(0, error.message);
		});
	}

	#bind(entry) {
		const { account, binding } = entry;
		entry.on = this.#socket;
		return this.#request("subscribe", { account_id: account, binding }).then((data) => entry.resolve(data?.subscribed ?? []), (error) => {
			if (error.gone) return;
			if (this.#subscriptions.get(`${account} ${binding}`) === entry) this.#subscriptions.delete(`${account} ${binding}`);
			entry.reject(error);
			this.#tell("refused", { account, binding, why: error.message });
		});
	}

	/** A connection that is dead without a word is found out here. */
	#alive(socket) {
		const late = setTimeout(() => {
			if (socket !== this.#socket) return;
			this.#drop();
			this.#again(0, "no answer");
		}, ANSWER_WITHIN);
		this.#request("ping").catch(() => {}).finally(() => clearTimeout(late));
	}

	#request(action, data, more) {
		const request_id = `c${++this.#requests}`;
		return new Promise((resolve, reject) => {
			this.#waiting.set(request_id, { resolve, reject });
			this.#socket.send(JSON.stringify({ action, request_id, ...more, data }));
		});
	}

	#receive(text) {
		let frame, why = "no JSON object";
		try {
			frame = JSON.parse(text);
		} catch (error) {
			why = error.message;
		}
		if (!frame || typeof frame !== "object" || Array.isArray(frame)) return this.#bad(text, why);
		if (frame.action === "event") return this.#deliver(frame);
		const request = this.#waiting.get(frame.request_id);
		if (frame.action !== "reply" || !request) return this.#bad(text, "neither an event nor an answer to a request");
		this.#waiting.delete(frame.request_id);
		if (frame.status === "success") return request.resolve(frame.data);
		const errors = Array.isArray(frame.data?.errors) ? frame.data.errors : ["refused without a reason"];
		request.reject(new Error(errors.join("; ")));
	}

	#deliver(frame) {
		if (typeof frame.subscribed_key !== "string" || !frame.data || typeof frame.data !== "object") return this.#bad(JSON.stringify(frame), "an event without data or binding");
		// Events of presence bindings come without their first word.
		const keys = [frame.subscribed_key, `presence.${frame.subscribed_key}`];
		let chosen = [...this.#subscriptions.values()].filter(({ binding }) => keys.includes(binding));
		if (chosen.length > 1) {
			// One binding for several accounts: the subscription key names whose it is.
			const words = String(frame.subscription_key).split(/[.:/]/);
			const named = chosen.filter(({ account }) => account !== "*" && words.includes(account));
			const all = chosen.filter(({ account }) => account === "*");
			// Keys with a realm in place of an account: any will do, for they feed the same.
			chosen = named.length ? named : all.length ? all : chosen.slice(0, 1);
		}
		const now = Date.now();
		for (const entry of chosen) for (const { handler } of entry.handlers) {
			try {
				handler(frame, now);
			} catch (error) {
				console.error(error);
				this.#bad(JSON.stringify(frame), error.message);
			}
		}
	}

	#bad(text, why) {
		this.#tell("badframe", { text: String(text).slice(0, 500), why });
	}

	#again(code, why) {
		this.#lost ||= Date.now();
		const pause = Math.min(LONGEST, 500 * 2 ** this.#tries++) * (0.75 + Math.random() / 2);
		const wait = Math.min(LONGEST, code === 1013 ? Math.max(5000, pause) : pause);
		this.#become({ name: "waiting", until: Date.now() + wait, since: this.#lost, why: why || (code === 1006 || !code ? "the connection broke" : `closed with code ${code}`) });
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => this.open(), wait);
	}

	#expire(why) {
		clearTimeout(this.#timer);
		this.#lost ||= Date.now();
		this.#become({ name: "expired", why });
	}

	#drop() {
		clearInterval(this.#beat);
		const socket = this.#socket;
		this.#socket = null;
		if (socket) {
			socket.onopen = socket.onmessage = socket.onclose = null;
			socket.close();
		}
		for (const { reject } of this.#waiting.values()) reject(Object.assign(new Error("not connected"), { gone: true }));
		this.#waiting.clear();
	}

	#become(state) {
		this.state = state;
		this.#tell("state", state);
	}

	#tell(type, detail) {
		this.dispatchEvent(new CustomEvent(type, { detail }));
	}
}
