// Elements without markup: what comes from outside only ever becomes text.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "selected", "open"]);

/**
 * An HTML element. `on` has listeners, `dataset` data attributes, `test` the one that tests look for, `label` what screen readers
 * say; props and children that are null or false are left out. A button submits nothing unless it says so.
 */
export function h(tag, props, ...children) {
	return build(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props, ...children) {
	return build(document.createElementNS(SVG, tag), props, children);
}

/** Replaces what is in `node`; children by the same rules. */
export function fill(node, ...children) {
	node.replaceChildren(...nodes(children));
	return node;
}

function build(node, props, children) {
	if (node.localName === "button") node.type = "button";
	for (const [key, value] of Object.entries(props ?? {})) {
		if (value == null || value === false) continue;
		if (key === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
		else if (key === "dataset") assign(node.dataset, value);
		else if (key === "test") node.dataset.test = value;
		else if (key === "label") node.setAttribute("aria-label", value);
		else if (PROPERTIES.has(key)) node[key] = value;
		else node.setAttribute(key, value === true ? "" : String(value));
	}
	node.append(...nodes(children));
	return node;
}

/** Sets data attributes; those that are null or false go. */
export function assign(dataset, values) {
	for (const [key, value] of Object.entries(values)) {
		if (value == null || value === false) delete dataset[key];
		else if (dataset[key] !== String(value)) dataset[key] = value;
	}
}

function nodes(children) {
	return children.flat(Infinity).filter((child) => child != null && child !== false && child !== true)
		.map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}
