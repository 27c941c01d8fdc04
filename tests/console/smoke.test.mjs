// The page is there and whole: whatever else fails, begin here.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { axe, leave, open, screenshot, start } from "./support.mjs";

let gateway;
before(async () => {
  gateway = await start();
});

test("the page comes with its policy, and nothing fails on it", async () => {
  const page = await open(gateway);
  assert.match(await page.title(), /blackhole/i);
  const answer = await page.request.get(`${gateway.url}/`);
  const policy = answer.headers()["content-security-policy"];
  assert.match(policy, /default-src 'none'; script-src 'self'; /);
  assert.ok(policy.includes(`connect-src 'self' ${gateway.ws} wss://127.0.0.1:`), policy);
  await screenshot(page, "smoke");
  assert.deepEqual(await axe(page), []);
  await leave(page);
});

test("the page may open the gateway's socket, also after it came back; nothing else", async () => {
  let stopped = 0;
  const page = await open(gateway, { expected: [/Content Security Policy/] });
  page.on("console", (message) => (stopped += /Content Security Policy/.test(message.text())));
  const connects = (url) =>
    page.evaluate(
      (url) =>
        new Promise((resolve) => {
          const socket = new WebSocket(url);
          socket.onopen = () => resolve(true);
          socket.onerror = () => resolve(false);
        }),
      url,
    );
  assert.equal(await connects(gateway.ws), true);
  assert.equal(await connects("ws://127.0.0.1:9"), false);
  assert.equal(stopped, 1);
  await gateway.restart();
  await page.reload();
  assert.equal(await connects(gateway.ws), true);
  await leave(page);
});

test("an inline script is stopped, and that counts as a problem", async () => {
  const page = await open(gateway);
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "document.title = 'run'";
    document.head.append(script);
  });
  assert.notEqual(await page.title(), "run");
  await assert.rejects(leave(page), /Content Security Policy/);
});
