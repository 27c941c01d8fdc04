// The gateway under test and the browser that looks at it.
//
//   const gateway = await start("--set", "auth.token_ttl=5s");
//   const acme = await gateway.account("Acme");
//   const page = await open(gateway, { fragment: `#token=${await gateway.token(acme.id)}` });
//   await gateway.publish("callevt", "call.CHANNEL_CREATE.x", { ... });
//   await shown(page, "call-row", { call: "x", state: "ringing" });
//   await leave(page);
//
// What a test leaves behind goes when its file is through.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { promisify } from "node:util";

// Not `import`: this finds the packages of NODE_PATH, which are not in the tree.
const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");

/** Longest wait for anything, in milliseconds; only a failing test ever waits so long. */
export const PATIENCE = 30_000;

/** The password of every user that is made here. */
export const PASSWORD = "correct-horse";

/** RabbitMQ, if tests/run has started one. */
export const rabbitmq = {
  url: process.env.BLACKHOLE_TEST_AMQP_URL,
  folder: process.env.BLACKHOLE_TEST_RABBITMQ_DIR,
};

const binary = process.env.BLACKHOLE_BIN;
const gateways = new Set();
let running;

/** For the gateway's environment: nothing of what is set for the tests. */
const environment = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("BLACKHOLE_")));

/** A gateway over data of its own, on free ports, with these flags more. */
export async function start(...flags) {
  const gateway = new Gateway(flags);
  await gateway.start();
  gateway.master = await gateway.token("master");
  return gateway;
}

class Gateway {
  /** The page's address, without a slash at its end. */
  url;
  /** The link of the first start. */
  link;
  /** A token of the master account. */
  master;
  /** Everything it has logged. */
  log = "";

  #folder = mkdtempSync(path.join(tmpdir(), "gateway-"));
  #flags;
  #ports = { ws: "0", wss: "0", api: "0" };
  #process;

  constructor(flags) {
    this.#flags = flags;
    gateways.add(this);
  }

  #places() {
    const certificates = `tls.development_dir=${path.join(this.#folder, "certs")}`;
    return ["--data-dir", path.join(this.#folder, "data"), "--set", certificates];
  }

  /** Starts it: again on the ports that it had. */
  async start() {
    const ports = Object.entries(this.#ports).flatMap(([name, port]) => [`--${name}-port`, port]);
    const flags = [...ports, ...this.#places(), "--set", "stop.window=1s", ...this.#flags];
    const process = spawn(binary, flags, { env: environment(), stdio: ["ignore", "pipe", "pipe"] });
    this.#process = process;
    process.stderr.on("data", (text) => (this.log += text));
    const printed = [];
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no gateway in time:\n${this.log}`)), PATIENCE);
      process.once("error", reject);
      process.once("exit", (code) => reject(new Error(`the gateway ended (${code}):\n${this.log}`)));
      createInterface({ input: process.stdout }).on("line", (line) => {
        printed.push(line.trim());
        this.link ??= line.match(/Open (http\S+)/)?.[1];
        // The last line of every start.
        if (line.trim().startsWith("- waiting ")) {
          clearTimeout(timer);
          resolve();
        }
      });
    });
    for (const name of Object.keys(this.#ports)) {
      const line = printed.find((line) => line.startsWith(`${name} `));
      this.#ports[name] = line.match(/:(\d+)/)?.[1] ?? "off";
    }
    this.url = `http://127.0.0.1:${this.#ports.api}`;
    this.ws = `ws://127.0.0.1:${this.#ports.ws}`;
  }

  async #end(signal) {
    const process = this.#process;
    if (process.exitCode !== null || process.signalCode !== null) return;
    const ended = once(process, "exit");
    process.kill(signal);
    await ended;
  }

  /** Ends it in good order. */
  stop() {
    return this.#end("SIGTERM");
  }

  /** Ends it as a crash does. */
  kill() {
    return this.#end("SIGKILL");
  }

  /** In good order, then again on the same ports over the same data. */
  async restart() {
    await this.stop();
    await this.start();
  }

  /** At once, and with its data. */
  discard() {
    this.#process?.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
    gateways.delete(this);
  }

  /** Another command over the same data; what it printed. */
  async command(...args) {
    const flags = [...args, ...this.#places(), "--api-port", this.#ports.api];
    const { stdout } = await promisify(execFile)(binary, flags, { env: environment() });
    return stdout.trim();
  }

  /** A token of an account, by its id or name; `ttl` as in `30m`. */
  token(account, ttl) {
    return this.command("token", "--account", account, ...(ttl ? ["--ttl", ttl] : []));
  }

  /** An account with an admin `ann`, who has the password of all. */
  async account(name, { parent = "master", id, realm = `${name.toLowerCase()}.example.net` } = {}) {
    const chosen = id ? ["--id", id] : [];
    const flags = ["--name", name, "--realm", realm, "--parent", parent, ...chosen];
    id = await this.command("account", "create", ...flags);
    await this.user(id, "ann", "admin");
    return { id, name, realm };
  }

  /** A user of an account with the password of all; gives its id. */
  user(account, username, level = "user") {
    const flags = ["--account", account, "--username", username, "--password", PASSWORD];
    return this.command("user", "create", ...flags, "--priv-level", level);
  }

  /** Publishes an event, as Kazoo would. */
  async publish(exchange, routing_key, payload) {
    const answer = await fetch(`${this.url}/v2/events`, {
      method: "PUT",
      headers: { "content-type": "application/json", "x-auth-token": this.master },
      body: JSON.stringify({ data: { exchange, routing_key, payload } }),
    });
    assert.equal(answer.status, 201, await answer.text());
  }
}

/** The browser of this file. */
export async function browser() {
  running ??= chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Its sandbox refuses to work for root.
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
  return running;
}

/**
 * The gateway's page in a window of its own, with nothing stored. Problems are collected in
 * `page.problems`; those that match one of `expected` are the test's own doing.
 */
export async function open(gateway, { fragment = "", expected = [], ...options } = {}) {
  const chosen = { viewport: { width: 1440, height: 900 }, colorScheme: "dark", ...options };
  const context = await (await browser()).newContext(chosen);
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  page.problems = [];
  const note = (text) => {
    if (!expected.some((pattern) => pattern.test(text))) page.problems.push(text);
  };
  page.on("pageerror", (error) => note(String(error)));
  page.on("crash", () => note("the page crashed"));
  // What the policy stops is told here, too, as an error.
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) note(message.text());
  });
  await page.goto(`${gateway.url}/${fragment}`);
  return page;
}

/** Closes the page's window; fails if anything went wrong on it. */
export async function leave(page) {
  await page.context().close();
  const problems = page.problems.join("\n");
  assert.ok(!problems, `problems on the page:\n${problems}`);
}

/** Elements by their name for tests and, where given, their data: `{state: "held"}`. */
export function find(page, name, data = {}) {
  const more = Object.entries(data).map(([key, value]) => `[data-${key}="${value}"]`);
  return page.locator(`[data-test="${name}"]${more.join("")}`);
}

/** Waits until such an element is seen; gives it. */
export async function shown(page, name, data) {
  const found = find(page, name, data).first();
  await found.waitFor();
  return found;
}

/** Waits until no such element is seen. */
export function gone(page, name, data) {
  return find(page, name, data).first().waitFor({ state: "hidden" });
}

/** Fills in the log-in form, and waits for the connection. */
export async function logIn(page, account, user = "ann", password = PASSWORD) {
  await find(page, "login-user").fill(user);
  await find(page, "login-password").fill(password);
  await find(page, "login-account").fill(account);
  await find(page, "login-password").press("Enter");
  await shown(page, "connection", { state: "connected" });
}

/** Keeps a picture of the page. */
export async function screenshot(page, name) {
  const folder = process.env.BLACKHOLE_SCREENSHOTS;
  if (folder) await page.screenshot({ path: path.join(folder, `${name}.png`) });
}

/**
 * What axe finds on the page that is serious or critical, a text each. The page keeps its policy: axe
 * gets in through the debugging protocol, which the policy does not bind.
 */
export async function axe(page) {
  const session = await page.context().newCDPSession(page);
  const expression = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  const evaluate = async (options) => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", options);
    assert.equal(exceptionDetails, undefined, "axe failed");
    return result.value;
  };
  await evaluate({ expression });
  const run = "axe.run().then(({ violations }) => violations)";
  const violations = await evaluate({ expression: run, awaitPromise: true, returnByValue: true });
  await session.detach();
  const grave = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  return grave.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(" ")}`);
}

after(async () => {
  await (await running)?.close();
  for (const gateway of gateways) gateway.discard();
});

// Also where the tests are cut short.
process.on("exit", () => gateways.forEach((gateway) => gateway.discard()));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));
