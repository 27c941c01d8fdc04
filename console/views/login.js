// The way in.

import { h } from "../lib/dom.js";
import { md5 } from "../lib/md5.js";
import { Rest } from "../gateway/rest.js";
import { brand } from "./shell.js";

/** A form that calls `done(token, data)`. The password is hashed here and kept nowhere. */
export function loginForm({ title, note, account = "", config, cancel, done }) {
	const field = (label, props) => {
		const input = h("input", { required: true, autocapitalize: "none", spellcheck: "false", ...props });
		return { input, node: h("label", {}, h("span", {}, label), input) };
	};
	const user = field("User", { name: "username", autocomplete: "username", test: "login-user" });
	const password = field("Password", { name: "password", type: "password", autocomplete: "current-password", test: "login-password" });
	const name = field("Account name", { name: "account", autocomplete: "organization", value: account, test: "login-account" });
	const error = h("p", { class: "error", role: "alert", hidden: true, test: "login-error" });
	const button = h("button", { class: "primary", type: "submit" }, "Log in");

	async function submit(event) {
		event.preventDefault();
		button.disabled = true;
		error.hidden = true;
		const credentials = md5(`${user.input.value.trim().toLowerCase()}:${password.input.value}`);
		try {
			const { auth_token, data } = await new Rest().send("PUT", "user_auth", { credentials, account_name: name.input.value.trim() });
			password.input.value = "";
			done(auth_token, data);
		} catch (failure) {
			error.textContent = failure.status === 401 ? "User, password or account name is wrong." : failure.status === 400 ? "The account is disabled, or a field is not valid." : failure.message;
			error.hidden = false;
			password.input.select();
		} finally {
			button.disabled = false;
		}
	}

	return h("form", { class: "panel card login", method: "dialog", test: "login-form", on: { submit } },
		h("div", { class: "title" }, brand(44), h("h1", {}, title)),
		note && h("p", { class: "muted" }, note),
		user.node, password.node, name.node, error,
		h("p", { class: "actions" }, button, cancel && h("button", { on: { click: cancel } }, "Cancel")),
		config && h("p", { class: "muted small" }, `blackhole ${config.version} on ${config.node}. The first start printed the password of admin, and a link that logs in without it.`));
}
