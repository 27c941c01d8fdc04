// Many changes, one drawing.

/** A function that calls `draw` in the next frame but `pause` ms after the last time at the earliest; `.stop()` calls it off. */
export function later(draw, pause = 100) {
	let timer = 0, frame = 0, last = 0;
	const ask = () => {
		timer ||= setTimeout(() => {
			frame = requestAnimationFrame(() => {
				timer = 0;
				last = performance.now();
				draw();
			});
		}, Math.max(0, last + pause - performance.now()));
	};
	ask.stop = () => {
		clearTimeout(timer);
		cancelAnimationFrame(frame);
		timer = -1;
	};
	return ask;
}
