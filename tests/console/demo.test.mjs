// The whole console over the seeded demo: a picture of every view in both themes, and no finding of axe.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway } from "./gateway.mjs";
import { Console, quit } from "./page.mjs";

const VIEWS = ["calls", "conferences", "faxes", "presence", "events", "sockets", "health"];
let gateway;

before(async () => {
  gateway = await Gateway.start("--demo", "--demo-seed", "7", "--demo-calls-per-minute", "120");
});
after(async () => {
  await quit();
  await gateway?.remove();
});

test("calls come, change and end by themselves", async () => {
  const view = await Console.with(gateway, gateway.master);
  for (const state of ["ringing", "bridged", "ended"]) {
    await view.one("call-row", `[data-state="${state}"]`).first().waitFor({ timeout: 60_000 });
  }
  await view.one("call-state").selectOption("");
  await view.close();
});

for (const theme of ["dark", "light"]) {
  test(`every view, ${theme}`, async () => {
    const view = await Console.with(gateway, gateway.master, { theme });
    await view.one("call-row").nth(5).waitFor({ timeout: 60_000 });
    for (const key of VIEWS) {
      await view.go(key);
      if (key === "events") {
        await view.one("event-binding").fill("call.*.*");
        await view.one("event-subscribe").click();
        await view.one("event-row").first().waitFor();
      }
      if (key === "sockets") await view.one("socket-row").first().waitFor();
      if (key === "presence") await view.one("lamp").first().waitFor();
      await view.picture(`${key}-${theme}`);
      await view.accessible(`${key}, ${theme}`);
    }
    await view.page.setViewportSize({ width: 390, height: 844 });
    for (const key of VIEWS) {
      await view.go(key);
      await view.picture(`${key}-${theme}-narrow`);
      await view.accessible(`${key}, ${theme}, narrow`);
      const wide = await view.page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
      assert.equal(wide, false, `${key} is wider than a narrow window`);
    }
    await view.close();
  });

  test(`log-in, ${theme}`, async () => {
    const view = await Console.open(gateway, { theme });
    await view.one("login-form").waitFor();
    await view.picture(`login-${theme}`);
    await view.accessible(`log-in, ${theme}`);
    await view.close();
  });
}
