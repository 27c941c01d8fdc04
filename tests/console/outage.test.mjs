// What an operator sees when the gateway, the broker or the token goes away.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Gateway } from "./gateway.mjs";
import { callId, channel } from "./kazoo.mjs";
import { Console, quit } from "./page.mjs";

const run = promisify(execFile);
const rabbitmq = fileURLToPath(new URL("../rabbitmq", import.meta.url));
/** What a browser says of itself when a server is away. */
const AWAY = [/ERR_CONNECTION_REFUSED/, /ERR_CONNECTION_RESET/, /ERR_EMPTY_RESPONSE/, /Failed to load resource/, /WebSocket connection/];

after(quit);

test("the gateway is killed and comes back", async () => {
  const gateway = await Gateway.start();
  try {
    const acme = await gateway.account("Acme");
    const view = await Console.with(gateway, await gateway.token("Acme"), { expected: AWAY });
    const before = callId("before");
    await gateway.publish(channel("CHANNEL_CREATE", acme, before));
    await view.call(before).waitFor();
    await gateway.down("SIGKILL");
    await view.one("connection", '[data-state="waiting"]').waitFor();
    assert.match(await view.text("connection"), /reconnect/i);
    assert.equal(await view.call(before).count(), 1, "what was known stays");
    await view.picture("reconnecting");
    await gateway.up();
    await view.connected();
    await view.one("stale-notice").waitFor();
    assert.match(await view.text("stale-notice"), /\d+\s?(s|sec)/);
    await view.one("call-row", `[data-call="${before}"][data-stale]`).waitFor();
    await view.picture("stale");
    const fresh = callId("fresh");
    await gateway.publish(channel("CHANNEL_CREATE", acme, fresh), channel("CHANNEL_ANSWER", acme, before));
    await view.call(fresh, "ringing").waitFor();
    await view.call(before, "answered").waitFor();
    assert.equal(await view.one("call-row", `[data-call="${before}"][data-stale]`).count(), 0);
    await view.close();
  } finally {
    await gateway.remove();
  }
});

test("RabbitMQ is killed and comes back", async () => {
  const node = await mkdtemp(path.join(tmpdir(), "rabbitmq-"));
  const { stdout } = await run(rabbitmq, ["start", node]);
  const gateway = await Gateway.start("--amqp-url", stdout.trim());
  try {
    const acme = await gateway.account("Acme");
    const view = await Console.with(gateway, gateway.master, { expected: AWAY });
    const before = callId("before");
    await gateway.publish(channel("CHANNEL_CREATE", acme, before));
    await view.call(before).waitFor();
    await view.go("health");
    await view.one("health-broker", '[data-state="connected"]').waitFor();
    await run(rabbitmq, ["kill", node]);
    await view.one("health-broker", '[data-state="away"]').waitFor();
    assert.match(await view.text("health-broker"), /since/i);
    await view.picture("broker-away");
    await run(rabbitmq, ["start", node]);
    await view.one("health-broker", '[data-state="connected"]').waitFor();
    await view.go("calls");
    await view.one("call-row", `[data-call="${before}"][data-stale]`).waitFor();
    const fresh = callId("fresh");
    await gateway.publish(channel("CHANNEL_CREATE", acme, fresh));
    await view.call(fresh, "ringing").waitFor();
    await view.close();
  } finally {
    await gateway.remove();
    await run(rabbitmq, ["stop", node]).catch(() => {});
    await rm(node, { recursive: true, force: true });
  }
});

test("a token expires: the view stays, and logging in again goes on", async () => {
  const gateway = await Gateway.start();
  try {
    const acme = await gateway.account("Acme");
    const view = await Console.with(gateway, await gateway.token("Acme", "--ttl", "3s"), { expected: AWAY });
    await view.one("connection", '[data-state="expired"]').waitFor();
    await view.one("view-calls").waitFor();
    await view.picture("expired");
    await view.one("log-in-again").click();
    await view.logIn("ann", acme.password, "Acme");
    await view.connected();
    const fresh = callId("fresh");
    await gateway.publish(channel("CHANNEL_CREATE", acme, fresh));
    await view.call(fresh).waitFor();
    await view.close();
  } finally {
    await gateway.remove();
  }
});

/** A TCP proxy that can say something of its own to whoever is connected. */
async function meddler() {
  const clients = new Set();
  const proxy = { target: 0 };
  const server = createServer((client) => {
    const gateway = connect(proxy.target, "127.0.0.1");
    client.pipe(gateway).pipe(client);
    clients.add(client);
    for (const end of [client, gateway]) end.on("error", () => {});
    client.on("close", () => clients.delete(client));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy.url = `ws://127.0.0.1:${server.address().port}`;
  /** A text frame (RFC 6455, 5.2) of less than 126 bytes, as a server sends it. */
  proxy.say = (text) => clients.forEach((client) => client.write(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)])));
  proxy.close = () => server.close();
  return proxy;
}

test("a frame that is no event loses nothing", async () => {
  const proxy = await meddler();
  const gateway = await Gateway.start("--set", `console.socket_url=${proxy.url}`);
  try {
    proxy.target = gateway.ws;
    const acme = await gateway.account("Acme");
    const view = await Console.with(gateway, await gateway.token("Acme"));
    const first = callId("first");
    await gateway.publish(channel("CHANNEL_CREATE", acme, first));
    await view.call(first).waitFor();
    for (const text of ["not JSON {", "[]", "null", '{"action":"event"}', '{"action":"event","data":7,"name":{}}', '{"action":"reply"}']) {
      proxy.say(text);
    }
    const second = callId("second");
    await gateway.publish(channel("CHANNEL_CREATE", acme, second));
    await view.call(second).waitFor();
    assert.equal(await view.one("connection").getAttribute("data-state"), "connected");
    await view.close();
  } finally {
    await gateway.remove();
    proxy.close();
  }
});
