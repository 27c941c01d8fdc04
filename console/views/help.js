// Keys, and what the page means.

import { h } from "../lib/dom.js";

/** Opens the help over whatever is there. */
export function openHelp(views) {
  if (document.querySelector("[data-test=help]")) return;
  const rows = [
    ["/", "search"],
    ["↑ ↓ PgUp PgDn Home End", "move in a table"],
    ["Enter", "open the row"],
    ["Esc", "close, or clear the search"],
    ...views.map((view, index) => [`${index + 1}, or g ${view.shortcut}`, view.title]),
    ["?", "this"],
  ];
  const dialog = h("dialog", { class: "panel help", "aria-labelledby": "help-title", dataset: { test: "help" }, on: {
    close: () => dialog.remove(),
    click: (event) => event.target === dialog && dialog.close(),
  } },
    h("div", { class: "title" }, h("h2", { id: "help-title" }, "Keys"), h("button", { type: "button", class: "quiet", "aria-label": "Close", on: { click: () => dialog.close() } }, "✕")),
    h("dl", { class: "keys" }, rows.map(([keys, text]) => h("div", {}, h("dt", {}, keys.split(/ (?!or)/).map((key) => /^(or|or g)$/.test(key) ? `${key} ` : h("kbd", {}, key))), h("dd", {}, text)))),
    h("h3", {}, "What the board knows"),
    h("p", {}, "Only events: there is no list of calls to ask for. A call that was there before the page is seen from its next event on, and says so. After a gap in the connection, what may have ended unseen is marked until something is heard of it."),
    h("p", {}, "Everything here uses the public protocol and REST. What the page does, your program can do: the view Events shows how."));
  document.body.append(dialog);
  dialog.showModal();
}
