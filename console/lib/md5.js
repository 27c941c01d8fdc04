// MD5, which browsers do not have: Kazoo's log-in wants it.

const SHIFTS = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
const SINES = Uint32Array.from({ length: 64 }, (_, i) => Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32));

/** The MD5 of a text's UTF-8, as 32 hex digits. */
export function md5(text) {
	const message = new TextEncoder().encode(text);
	const blocks = new Uint8Array(((message.length + 8 >> 6) + 1) * 64);
	blocks.set(message);
	blocks[message.length] = 0x80;
	const view = new DataView(blocks.buffer);
	view.setUint32(blocks.length - 8, message.length * 8, true);
	view.setUint32(blocks.length - 4, Math.floor(message.length / 2 ** 29), true);
	const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];
	for (let at = 0; at < blocks.length; at += 64) {
		let [a, b, c, d] = state;
		for (let i = 0; i < 64; i++) {
			const round = i >> 4;
			const mix = [(b & c) | (~b & d), (d & b) | (~d & c), b ^ c ^ d, c ^ (b | ~d)][round];
			const word = [i, 5 * i + 1, 3 * i + 5, 7 * i][round] & 15;
			const sum = (a + mix + SINES[i] + view.getUint32(at + word * 4, true)) | 0;
			const shift = SHIFTS[round][i & 3];
			[a, d, c, b] = [d, c, b, (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0];
		}
		[a, b, c, d].forEach((value, i) => { state[i] = (state[i] + value) | 0; });
	}
	const out = new DataView(new ArrayBuffer(16));
	state.forEach((value, i) => out.setInt32(i * 4, value, true));
	return Array.from(new Uint8Array(out.buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
