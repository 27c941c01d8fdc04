// A table of any length: only the rows in sight are in the document.

import { h, fill, assign } from "./dom.js";

let tables = 0;

/**
 * `columns`: [{ key, title, width?, sort?: (a, b) => n, cell: (row, now) => string | Node, class? }]. A width is "2fr" (a share)
 * or "90px". The class "wide" hides a column below 1100 px, "medium" below 720 px; "number" aligns to the right.
 * `key`: row => string; `onOpen`: row => void; `rowClass`: row => string; `rowData`: row => data attributes;
 * `empty`: () => Node; `sorted`: { key, descending }; `rowHeight`: px. `version`: row => any: while it is the same, only columns
 * with `live` are written anew.
 */
export class Table {
	#columns; #options; #rows = []; #shown = []; #sorted; #active = null; #frame = 0; #id = `t${++tables}-`; #elements = new Map(); #height;

	constructor(options) {
		this.#options = options;
		this.#columns = options.columns;
		this.#sorted = options.sorted ?? null;
		this.#height = options.rowHeight ?? 44;
		this.head = h("div", { class: "row head", role: "row", "aria-rowindex": 1 }, this.#columns.map((column) => this.#header(column)));
		this.body = h("div", { class: "rows", role: "rowgroup" });
		this.grid = h("div", { class: "grid", role: "grid", tabindex: 0, "aria-label": options.label, "aria-colcount": this.#columns.length, on: {
			scroll: () => this.#later(),
			keydown: (event) => this.#key(event),
			click: (event) => this.#click(event),
			focus: () => this.#later(),
		} }, h("div", { class: "heads", role: "rowgroup" }, this.head), this.body);
		this.blank = h("div", { class: "blank", hidden: true });
		/** The element to insert. */
		this.node = h("div", { class: "table" }, this.grid, this.blank);
		this.#sight = new ResizeObserver(() => this.#later());
		this.#sight.observe(this.grid);
		this.#heads();
	}
	#sight;

	/** Shows these rows from the next frame on. */
	show(rows) {
		this.#rows = rows;
		this.#later(true);
	}

	/** Writes the cells in sight anew, such as timers. */
	tick(now) {
		this.#draw(now);
	}

	/** Puts the keyboard into the table. */
	focus() { this.grid.focus(); }

	/** Stops watching; for a view that closes. */
	close() {
		this.#sight.disconnect();
		cancelAnimationFrame(this.#frame);
	}

	#dirty = false;
	#later(sort = false) {
		this.#dirty ||= sort;
		this.#frame ||= requestAnimationFrame(() => {
			this.#frame = 0;
			if (this.#dirty) this.#sort();
			this.#draw(Date.now());
		});
	}

	#sort() {
		this.#dirty = false;
		const column = this.#sorted && this.#columns.find(({ key }) => key === this.#sorted.key);
		this.#shown = this.#rows.slice();
		if (column?.sort) {
			const sign = this.#sorted.descending ? -1 : 1;
			this.#shown.sort((a, b) => sign * column.sort(a, b));
		}
	}

	#draw(now) {
		const rows = this.#shown, tall = this.#height;
		this.blank.hidden = rows.length > 0;
		if (!rows.length && !this.blank.firstChild) fill(this.blank, this.#options.empty?.());
		if (rows.length && this.blank.firstChild) fill(this.blank);
		this.grid.setAttribute("aria-rowcount", rows.length + 1);
		this.body.style.height = `${rows.length * tall}px`;
		const first = Math.max(0, Math.floor(this.grid.scrollTop / tall) - 3);
		const last = Math.min(rows.length, first + Math.ceil(this.grid.clientHeight / tall) + 6);
		const seen = new Set();
		for (let index = first; index < last; index++) {
			const row = rows[index], key = String(this.#options.key(row));
			if (seen.has(key)) continue;
			seen.add(key);
			let element = this.#elements.get(key);
			if (!element) this.#elements.set(key, element = this.#row(key));
			this.#write(element, row, index, now);
		}
		for (const [key, element] of this.#elements) {
			if (!seen.has(key)) { element.node.remove(); this.#elements.delete(key); }
		}
		const active = this.#active !== null && this.#elements.get(this.#active);
		if (active) this.grid.setAttribute("aria-activedescendant", active.node.id);
		else this.grid.removeAttribute("aria-activedescendant");
	}

	#row(key) {
		const cells = this.#columns.map((column) => this.#sized(column, h("div", { class: `cell ${column.class ?? ""}`, role: "gridcell" })));
		const node = h("div", { class: "row", role: "row", id: this.#id + Math.random().toString(36).slice(2) }, cells);
		node.style.height = `${this.#height}px`;
		this.body.append(node);
		return { node, cells, key, texts: [] };
	}

	#write(element, row, index, now) {
		const { node, cells, texts } = element;
		element.row = row;
		if (element.index !== index) {
			element.index = index;
			node.style.transform = `translateY(${index * this.#height}px)`;
			node.setAttribute("aria-rowindex", index + 2);
		}
		const own = `row ${this.#options.rowClass?.(row) ?? ""}${element.key === this.#active ? " active" : ""}${index % 2 ? " odd" : ""}`;
		if (node.className !== own) node.className = own;
		node.setAttribute("aria-selected", element.key === this.#active);
		if (this.#options.rowData) assign(node.dataset, this.#options.rowData(row));
		const version = this.#options.version?.(row);
		const same = version !== undefined && version === element.version;
		element.version = version;
		this.#columns.forEach((column, at) => {
			if (same && !column.live) return;
			const content = column.cell(row, now);
			if (!(content instanceof Node)) {
				const text = content == null ? "" : String(content);
				if (texts[at] !== text) cells[at].textContent = texts[at] = text;
			} else if (!cells[at].firstChild?.isEqualNode(content)) {
				// The same content keeps its node: a click that has begun on it still ends on it.
				texts[at] = null;
				cells[at].replaceChildren(content);
			}
		});
	}

	#header(column) {
		const title = column.sort ? h("button", { on: { click: () => this.#order(column) } }, column.title, h("span", { class: "arrow", "aria-hidden": "true" })) : column.title;
		return this.#sized(column, h("div", { class: `cell ${column.class ?? ""}`, role: "columnheader", dataset: { column: column.key } }, title));
	}

	#sized(column, node) {
		const width = column.width ?? "1fr";
		node.style.flex = width.endsWith("fr") ? `${parseFloat(width)} 1 0` : `0 0 ${width}`;
		return node;
	}

	#order(column) {
		const same = this.#sorted?.key === column.key;
		this.#sorted = { key: column.key, descending: same && !this.#sorted.descending };
		this.#heads();
		this.#later(true);
	}

	#heads() {
		this.#columns.forEach((column, at) => {
			const mine = this.#sorted?.key === column.key;
			const head = this.head.children[at];
			if (column.sort) head.setAttribute("aria-sort", !mine ? "none" : this.#sorted.descending ? "descending" : "ascending");
			const arrow = head.querySelector(".arrow");
			if (arrow) arrow.textContent = !mine ? "" : this.#sorted.descending ? "▾" : "▴";
		});
	}

	#click(event) {
		if (event.target.closest("button, a, input, select")) return;
		const node = event.target.closest(".rows > .row");
		const element = node && [...this.#elements.values()].find((one) => one.node === node);
		if (!element) return;
		this.#active = element.key;
		this.#draw(Date.now());
		this.#options.onOpen?.(element.row);
	}

	#key(event) {
		if (event.target !== this.grid || event.altKey || event.ctrlKey || event.metaKey) return;
		const rows = this.#shown, page = Math.max(1, Math.floor(this.grid.clientHeight / this.#height) - 2);
		const at = rows.findIndex((row) => String(this.#options.key(row)) === this.#active);
		const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? rows.length - 1 : at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length - 1 }[event.key];
		if (event.key === "Enter" && at >= 0) {
			event.preventDefault();
			return this.#options.onOpen?.(rows[at]);
		}
		if (to === undefined || !rows.length) return;
		event.preventDefault();
		const index = Math.min(rows.length - 1, Math.max(0, to));
		this.#active = String(this.#options.key(rows[index]));
		const top = index * this.#height, room = this.grid.clientHeight - this.head.offsetHeight - this.#height;
		if (top < this.grid.scrollTop) this.grid.scrollTop = top;
		else if (top > this.grid.scrollTop + room) this.grid.scrollTop = top - room;
		this.#draw(Date.now());
	}
}
