// What the models share.

/** State that events change. A subclass has `take(data, frame, now)`, which returns whether anything is new. */
export class Model {
	/** Called after every change. */
	onchange = new Set();
	/** Events that could not be used. */
	errors = 0;

	/** Takes an event frame; `now` in milliseconds. Never throws: events may be of any shape. */
	apply(frame, now) {
		try {
			if (this.take(frame.data, frame, now)) this.changed();
		} catch {
			this.errors++;
		}
	}

	changed() { for (const listener of this.onchange) listener(); }
}

/** The oldest entries make room for more than `most`. */
export function bound(map, most) {
	while (map.size > most) map.delete(map.keys().next().value);
}

/** An object, whatever came. */
export function fields(value) {
	return value && typeof value === "object" && !Array.isArray(value) ? value : {};
}

/** Text for display of any value: one line, at most `most` characters, "" for what is no text. */
export function clean(value, most = 80) {
	if (typeof value === "number") return String(value);
	if (typeof value !== "string") return "";
	const line = (value.length > most * 4 ? value.slice(0, most * 4) : value).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
	const characters = Array.from(line);
	return characters.length > most || value.length > most * 4 ? `${characters.slice(0, most - 1).join("")}…` : line;
}
