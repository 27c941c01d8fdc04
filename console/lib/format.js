// Numbers and times for people, in the viewer's zone and language.

const numbers = new Intl.NumberFormat();
const times = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const days = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** "0:07", "3:07", "1:03:07". */
export function duration(ms) {
	const all = Math.max(0, Math.floor(Number(ms) / 1000)) || 0;
	const [hours, minutes, seconds] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
	const two = (n) => String(n).padStart(2, "0");
	return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

/** The time of day; with the day when it is not today's. */
export function clock(ms) {
	const time = new Date(ms);
	if (Number.isNaN(time.getTime())) return "–";
	return (time.toDateString() === new Date().toDateString() ? times : days).format(time);
}

/** "1,234". */
export function count(n) {
	return Number.isFinite(n) ? numbers.format(n) : "–";
}

/** "512 B", "1.5 KB", "20 MB". */
export function bytes(n) {
	if (!Number.isFinite(n)) return "–";
	const step = n < 1024 ? 0 : n < 1048576 ? 1 : n < 1073741824 ? 2 : 3;
	const value = n / 1024 ** step;
	return `${step && value < 10 ? value.toFixed(1) : Math.round(value)} ${["B", "KB", "MB", "GB"][step]}`;
}

/** A span in words: "8 s", "3 min", "2 h 5 min", "4 d". */
export function ago(ms) {
	const s = Math.max(0, Math.round(Number(ms) / 1000)) || 0;
	if (s < 90) return `${s} s`;
	if (s < 5400) return `${Math.round(s / 60)} min`;
	if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
	return `${Math.floor(s / 86400)} d`;
}

/** The start of a long id. */
export function short(id, length = 8) {
	const text = String(id ?? "");
	return text.length > length + 1 ? `${text.slice(0, length)}…` : text;
}
