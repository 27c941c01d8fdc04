// The real gateway on free ports, over data that goes with it.

import { spawn, execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const run = promisify(execFile);
const binary = process.env.BLACKHOLE_BIN;

/** For the gateway's environment: nothing that the tests' own environment sets for it. */
function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("BLACKHOLE_")));
}

export class Gateway {
  /** Starts one with these flags beside those for its places. */
  static async start(...flags) {
    const gateway = new Gateway();
    gateway.folder = await mkdtemp(path.join(tmpdir(), "blackhole-console-"));
    gateway.flags = flags;
    gateway.ports = ["--ws-port", "0", "--wss-port", "off", "--api-port", "0"];
    await gateway.up();
    gateway.master = await gateway.token("master");
    return gateway;
  }

  places() {
    return ["--data-dir", path.join(this.folder, "data"), "--set", `tls.development_dir=${path.join(this.folder, "certs")}`];
  }

  /** Starts it, again on the ports that it had. */
  async up() {
    this.printed = [];
    this.process = spawn(binary, [...this.places(), ...this.ports, "--set", "stop.window=1s", ...this.flags], {
      env: environment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    let log = "";
    this.process.stderr.on("data", (data) => (log += data));
    const lines = createInterface({ input: this.process.stdout });
    await new Promise((resolve, reject) => {
      lines.on("line", (line) => {
        this.printed.push(line);
        if (line.trimStart().startsWith("- waiting ")) resolve();
      });
      this.process.once("exit", (code) => reject(new Error(`the gateway ended with ${code}:\n${log}`)));
    });
    const port = (name) => this.printed.find((line) => line.trimStart().startsWith(`${name} `)).match(/:(\d+)/)[1];
    this.ws = Number(port("ws"));
    this.url = `http://127.0.0.1:${port("api")}`;
    this.ports = ["--ws-port", port("ws"), "--wss-port", "off", "--api-port", port("api")];
  }

  /** Ends it as a crash does (SIGKILL), or in good order. */
  async down(signal = "SIGKILL") {
    const ended = once(this.process, "exit");
    this.process.kill(signal);
    await ended;
  }

  async remove() {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.down();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Runs another command over the same data; what it printed. `input` goes to its standard input. */
  async command(args, input = "") {
    const running = run(binary, [...args, ...this.places()], { env: environment() });
    // A command that reads nothing may have ended before.
    running.child.stdin.on("error", () => {});
    running.child.stdin.end(input);
    return (await running).stdout.trim();
  }

  token(account, ...more) {
    return this.command(["token", "--account", account, ...more]);
  }

  /** Makes an account, with one admin whose password is known. */
  async account(name, parent = "master") {
    const realm = `${name.toLowerCase()}.example.net`;
    const made = await this.command(["account", "create", "--name", name, "--realm", realm, "--parent", parent, "--json"]);
    const { id } = JSON.parse(made);
    await this.command(
      ["user", "create", "--account", id, "--username", "ann", "--priv-level", "admin"],
      `${Gateway.password}\n`,
    );
    return { id, name, realm, user: "ann", password: Gateway.password };
  }

  static password = "correct-horse";

  /** Publishes events in this order, as Kazoo would. */
  async publish(...events) {
    for (const event of events) {
      const answer = await fetch(`${this.url}/v2/events`, {
        method: "PUT",
        headers: { "Content-Type": "application/json", "X-Auth-Token": this.master },
        body: JSON.stringify({ data: event }),
      });
      if (!answer.ok) throw new Error(`not published: ${answer.status} ${await answer.text()}`);
    }
  }
}
