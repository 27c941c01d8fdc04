// Calls told outside the page: desktop notifications and a number in the tab's title. Only when asked for.

/** For a session; `on` is what the operator chose. */
export class Alerts {
	on = false;

	/** Asks the browser for leave only here, on a click. Returns what to tell the operator. */
	async toggle() {
		this.on = !this.on;
		if (!this.on) return "No more alerts";
		const leave = "Notification" in window && await Notification.requestPermission();
		return leave === "granted" ? "Alerts are on: a notification for each new call while the page is in the background, and the number of calls in the tab's title"
			: "The number of calls is in the tab's title. The browser allows no notifications";
	}

	/** A call rings. */
	ring({ id, caller, callee }) {
		if (!this.on || !document.hidden || globalThis.Notification?.permission !== "granted") return;
		const who = ({ name, number } = {}) => [name, number].filter(Boolean).join(" · ") || "unknown";
		const note = new Notification(`Call from ${who(caller)}`, { body: `to ${who(callee)}`, tag: id });
		note.onclick = () => window.focus();
	}

	/** The title of the tab. */
	title(view, calls) {
		const title = `${this.on && calls ? `(${calls}) ` : ""}${view} · blackhole`;
		if (document.title !== title) document.title = title;
	}
}
