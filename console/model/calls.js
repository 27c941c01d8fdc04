/** Calls from events. */
export class Calls {
  static bindings = ["call.*.*"];
  onchange = new Set();
  apply(frame, now) {}
  stale(now) {}
}
