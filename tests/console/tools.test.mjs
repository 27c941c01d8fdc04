// The inspector, the sockets and the health of the gateway.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway } from "./gateway.mjs";
import { callId, channel } from "./kazoo.mjs";
import { Console, quit } from "./page.mjs";

let gateway, acme;

before(async () => {
  gateway = await Gateway.start();
  acme = await gateway.account("Acme");
});
after(async () => {
  await quit();
  await gateway?.remove();
});

test("the inspector: choose, subscribe, watch, pause, search, expand", async () => {
  const token = await gateway.token("Acme");
  const view = await Console.with(gateway, token);
  await view.go("events");
  const binding = "call.CHANNEL_CREATE.*";
  await view.one("event-binding").fill(binding);
  const frame = JSON.parse(await view.text("event-frame"));
  assert.equal(frame.action, "subscribe");
  assert.deepEqual([frame.data.account_id, frame.data.binding], [acme.id, binding]);
  assert.match(await view.text("event-example"), /wscat/);
  const page = await view.page.content();
  assert.ok(!page.includes(token), "no example shows the real token");
  await view.one("event-subscribe").click();
  await view.page.getByText(binding).first().waitFor();
  const [first, second] = [callId("first"), callId("second")];
  await gateway.publish(channel("CHANNEL_CREATE", acme, first), channel("CHANNEL_ANSWER", acme, first));
  const row = (id) => view.one("event-row").filter({ hasText: id });
  await row(first).waitFor();
  assert.equal(await row(first).count(), 1, "only what was subscribed to");
  await row(first).first().click();
  await view.page.getByText("caller_id_number").first().waitFor();
  await view.one("event-pause").click();
  await gateway.publish(channel("CHANNEL_CREATE", acme, second));
  await view.page.getByText(/1 (more )?(event )?wait|1 new|1 held/i).first().waitFor();
  assert.equal(await row(second).count(), 0);
  await view.one("event-pause").click();
  await row(second).waitFor();
  await view.one("event-search").fill(second);
  await row(first).waitFor({ state: "detached" });
  assert.equal(await row(second).count(), 1);
  await view.close();
});

test("the inspector tells why a binding was refused", async () => {
  const view = await Console.with(gateway, await gateway.token("Acme"));
  await view.go("events");
  await view.one("event-binding").fill("call.NO_SUCH_EVENT.*");
  await view.one("event-subscribe").click();
  await view.page.getByText("event NO_SUCH_EVENT not supported").first().waitFor();
  await view.close();
});

test("sockets: every open one, and an admin closes one", async () => {
  const view = await Console.with(gateway, await gateway.token("Acme"));
  const guest = await Console.with(gateway, await gateway.token("Acme"), { expected: [/.*/] });
  await view.go("sockets");
  const rows = view.one("socket-row");
  await rows.nth(1).waitFor();
  const closed = guest.page.waitForEvent("websocket");
  view.page.on("dialog", (dialog) => dialog.accept());
  const mine = await rows.evaluateAll((rows) => rows.findIndex((row) => /this page/i.test(row.innerText)));
  await rows.nth(mine === 0 ? 1 : 0).locator('[data-test="socket-close"]').click();
  const sure = view.page.getByRole("button", { name: /^(close socket|close it|yes|confirm)/i });
  if (await sure.count()) await sure.first().click();
  // The guest's page comes back with a socket of its own.
  await closed;
  await guest.connected();
  await view.picture("sockets-test");
  await view.close();
  await guest.close();
});

test("health: events in and out, the broker, drops", async () => {
  const view = await Console.with(gateway, gateway.master);
  await view.go("health");
  await view.one("health-broker").waitFor();
  assert.match(await view.text("health-broker"), /embedded/i);
  const flow = setInterval(() => gateway.publish(channel("CHANNEL_CREATE", acme, callId("flow"))).catch(() => {}), 50);
  try {
    await view.page.waitForFunction(() => parseFloat(document.querySelector('[data-test="health-in"]').innerText.match(/[\d.]+/)?.[0] ?? "0") > 1);
    await view.page.waitForFunction(() => parseFloat(document.querySelector('[data-test="health-out"]').innerText.match(/[\d.]+/)?.[0] ?? "0") > 1);
  } finally {
    clearInterval(flow);
  }
  await view.one("health-drops").waitFor();
  await view.close();
});

test("keys: help, views, search", async () => {
  const view = await Console.with(gateway, await gateway.token("Acme"));
  await view.page.keyboard.press("?");
  await view.one("help").waitFor();
  await view.page.keyboard.press("Escape");
  await view.one("help").waitFor({ state: "hidden" });
  const keys = ["calls", "conferences", "faxes", "presence", "events", "sockets", "health"];
  for (const [index, key] of keys.entries()) {
    await view.page.keyboard.press(String(index + 1));
    await view.one(`view-${key}`).waitFor();
  }
  await view.close();
});
