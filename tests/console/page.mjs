// The console in a real browser. Whatever the page reports as an error fails the test.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

// Found through NODE_PATH, which only this way of importing heeds.
const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const pictures = process.env.BLACKHOLE_SCREENSHOTS;

/** How long anything may take to show, in milliseconds: the machine may be busy. */
const PATIENCE = 20_000;

let browser;

async function launched() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
  return browser;
}

/** To be called once all tests of a file are through. */
export async function quit() {
  await browser?.close();
}

export class Console {
  /** A window of its own, with nothing stored. `expected`: errors that the test itself causes. */
  static async open(gateway, { fragment = "", theme = "dark", expected = [], width = 1440, height = 900 } = {}) {
    const view = new Console();
    const browser = await launched();
    view.context = await browser.newContext({ colorScheme: theme, viewport: { width, height } });
    view.context.setDefaultTimeout(PATIENCE);
    view.page = await view.context.newPage();
    view.errors = [];
    const note = (text) => {
      if (!expected.some((pattern) => pattern.test(text))) view.errors.push(text);
    };
    view.page.on("pageerror", (error) => note(String(error)));
    view.page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) note(message.text());
    });
    view.gateway = gateway;
    await view.page.goto(`${gateway.url}/${fragment}`);
    return view;
  }

  /** Logged in by a link, as the first start prints one. */
  static async with(gateway, token, options = {}) {
    const view = await Console.open(gateway, { ...options, fragment: `#token=${token}` });
    await view.connected();
    return view;
  }

  one(name, more = "") {
    return this.page.locator(`[data-test="${name}"]${more}`);
  }

  async logIn(user, password, account) {
    await this.one("login-user").fill(user);
    await this.one("login-password").fill(password);
    await this.one("login-account").fill(account);
    await this.one("login-password").press("Enter");
  }

  connected() {
    return this.one("connection", '[data-state="connected"]').waitFor();
  }

  async go(key) {
    await this.one(`nav-${key}`).click();
    await this.one(`view-${key}`).waitFor();
  }

  /** The row of a call, in this state if one is named. */
  call(id, state) {
    return this.one("call-row", `[data-call="${id}"]${state ? `[data-state="${state}"]` : ""}`);
  }

  async text(name) {
    return (await this.one(name).innerText()).trim();
  }

  async picture(name) {
    if (!pictures) return;
    await mkdir(pictures, { recursive: true });
    await this.page.screenshot({ path: path.join(pictures, `${name}.png`) });
  }

  /** No finding of axe that is serious or worse. axe gets in over the debugging protocol, past the page's policy. */
  async accessible(what) {
    await this.page.evaluate(await readFile(require.resolve("axe-core/axe.min.js"), "utf8"));
    const { violations } = await this.page.evaluate(() => window.axe.run());
    const found = violations
      .filter(({ impact }) => ["serious", "critical"].includes(impact))
      .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
    assert.deepEqual(found, [], what);
  }

  async close() {
    await this.context.close();
    assert.deepEqual(this.errors, [], "errors in the page");
  }
}
