// The live board: each kind of event changes the right row, and no other.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway } from "./gateway.mjs";
import { callId, channel, conference, document, fax, presence, waiting } from "./kazoo.mjs";
import { Console, quit } from "./page.mjs";

let gateway, acme, other;

before(async () => {
  gateway = await Gateway.start();
  acme = await gateway.account("Acme");
  other = await gateway.account("Other");
});
after(async () => {
  await quit();
  await gateway?.remove();
});

const board = async () => Console.with(gateway, await gateway.token("Acme"));

test("log in with user, password and account; log out", async () => {
  const view = await Console.open(gateway, { expected: [/401/] });
  await view.one("login-form").waitFor();
  await view.logIn("ann", "wrong-password", "Acme");
  await view.one("login-error").waitFor();
  assert.match(await view.text("login-error"), /\w/);
  await view.logIn("ann", acme.password, "Acme");
  await view.connected();
  await view.one("view-calls").waitFor();
  assert.equal(await view.page.evaluate(() => localStorage.length === 0 || !JSON.stringify(localStorage).includes("eyJ")), true);
  await view.page.reload();
  await view.connected();
  await view.one("log-out").click();
  await view.one("login-form").waitFor();
  assert.equal(await view.page.evaluate(() => JSON.stringify(sessionStorage).includes("eyJ")), false);
  await view.close();
});

test("a link logs in, and its token leaves the address at once", async () => {
  const view = await board();
  assert.doesNotMatch(view.page.url(), /token/);
  await view.close();
});

test("a call from its first ring to its end is one row", async () => {
  const view = await board();
  const [a, b] = [callId("a"), callId("b")];
  const legs = { "Other-Leg-Call-ID": b };
  const bystander = callId("bystander");
  await gateway.publish(channel("CHANNEL_CREATE", acme, bystander));
  await gateway.publish(channel("CHANNEL_CREATE", acme, a));
  await view.call(a, "ringing").waitFor();
  await gateway.publish(
    channel("CHANNEL_CREATE", acme, b, { "Call-Direction": "outbound", "Other-Leg-Call-ID": a }),
    channel("CHANNEL_ANSWER", acme, a, legs),
  );
  await view.call(a, "answered").waitFor();
  await gateway.publish(channel("CHANNEL_BRIDGE", acme, a, legs));
  await view.call(a, "bridged").waitFor();
  assert.equal(await view.call(b).count(), 0, "the other leg has no row of its own");
  await gateway.publish(channel("CHANNEL_HOLD", acme, a, legs));
  await view.call(a, "held").waitFor();
  await gateway.publish(channel("CHANNEL_UNHOLD", acme, a, legs));
  await view.call(a, "bridged").waitFor();
  await gateway.publish(channel("PARK_PARKED", acme, a, { "Parking-Slot": "101" }));
  await view.call(a, "parked").waitFor();
  assert.match(await view.call(a).innerText(), /101/);
  await gateway.publish(channel("PARK_RETRIEVED", acme, a, { "Parking-Slot": "101" }));
  await view.one("call-row", `[data-call="${a}"]:not([data-state="parked"])`).waitFor();
  await gateway.publish(
    channel("CHANNEL_DESTROY", acme, b, { "Other-Leg-Call-ID": a, "Hangup-Cause": "NORMAL_CLEARING" }),
    channel("CHANNEL_DESTROY", acme, a, { ...legs, "Hangup-Cause": "NORMAL_CLEARING", "Duration-Seconds": 12 }),
  );
  await view.call(a, "ended").waitFor();
  assert.equal(await view.call(bystander).getAttribute("data-state"), "ringing");
  await view.call(a).waitFor({ state: "detached" });
  await view.close();
});

test("the counters tell what was answered and what was missed", async () => {
  const view = await board();
  const numbers = () => Promise.all(["count-active", "count-answered", "count-missed"].map(async (name) => parseInt(await view.text(name).then((text) => text.match(/\d+/)?.[0] ?? "0"), 10)));
  const [active, answered, missed] = await numbers();
  const [good, bad] = [callId("good"), callId("bad")];
  await gateway.publish(
    channel("CHANNEL_CREATE", acme, good),
    channel("CHANNEL_CREATE", acme, bad),
    channel("CHANNEL_ANSWER", acme, good),
    channel("CHANNEL_DESTROY", acme, bad, { "Hangup-Cause": "NO_ANSWER" }),
  );
  await view.call(bad, "ended").waitFor();
  await view.call(good, "answered").waitFor();
  await view.page.waitForFunction(
    ([active, answered, missed]) => {
      const number = (name) => parseInt(document.querySelector(`[data-test="${name}"]`).innerText.match(/\d+/)?.[0] ?? "0", 10);
      return number("count-active") === active + 1 && number("count-answered") === answered + 1 && number("count-missed") === missed + 1;
    },
    [active, answered, missed],
  );
  const waits = callId("waits");
  await gateway.publish(channel("CHANNEL_CREATE", acme, waits));
  await view.one("count-longest").filter({ hasText: /\d/ }).waitFor();
  await gateway.publish(
    channel("CHANNEL_DESTROY", acme, good, { "Hangup-Cause": "NORMAL_CLEARING" }),
    channel("CHANNEL_DESTROY", acme, waits, { "Hangup-Cause": "ORIGINATOR_CANCEL" }),
  );
  await view.close();
});

test("filter by text and by state, with the keyboard", async () => {
  const view = await board();
  const [needle, hay] = [callId("needle"), callId("hay")];
  await gateway.publish(
    channel("CHANNEL_CREATE", acme, needle, { "Caller-ID-Name": "Zoe Quill", "Caller-ID-Number": "+4930998877" }),
    channel("CHANNEL_CREATE", acme, hay, { "Caller-ID-Name": "Bob Stone" }),
    channel("CHANNEL_ANSWER", acme, hay, { "Caller-ID-Name": "Bob Stone" }),
  );
  await view.call(needle).waitFor();
  await view.call(hay, "answered").waitFor();
  await view.page.keyboard.press("/");
  await view.page.keyboard.type("quill");
  await view.call(hay).waitFor({ state: "detached" });
  assert.equal(await view.call(needle).count(), 1);
  await view.one("call-search").fill("998877");
  assert.equal(await view.call(needle).count(), 1);
  await view.page.keyboard.press("Escape");
  await view.call(hay).waitFor();
  await view.one("call-state").selectOption("answered");
  await view.call(needle).waitFor({ state: "detached" });
  assert.equal(await view.call(hay).count(), 1);
  await view.close();
});

test("conferences, faxes and lamps", async () => {
  const view = await Console.with(gateway, gateway.master);
  const room = "6e0d1c2b3a4958677685949392a1b0cf";
  const member = { "Call-ID": callId("member"), "Participant-ID": 7, "Caller-ID-Name": "Mia Member", "Caller-ID-Number": "1004" };
  await view.go("conferences");
  await gateway.publish(conference("conference-create", acme, room), conference("add-member", acme, room, member));
  await view.one("conference-member").filter({ hasText: "Mia Member" }).waitFor();
  await gateway.publish(conference("start-talking", acme, room, member));
  await view.one("conference-member", '[data-state="talking"]').waitFor();
  await gateway.publish(conference("stop-talking", acme, room, member), conference("mute-member", acme, room, member));
  await view.one("conference-member", '[data-state="muted"]').waitFor();
  await view.picture("conferences-test");
  await gateway.publish(conference("del-member", acme, room, member), conference("conference-destroy", acme, room));
  await view.one("conference-member").waitFor({ state: "detached" });

  await view.go("faxes");
  const job = callId("202603-job");
  await gateway.publish(fax(acme, job));
  const row = view.one("fax-row").filter({ hasText: "+14155550177" });
  await row.waitFor();
  assert.match(await row.innerText(), /1 of 3|1\s*\/\s*3/);

  await view.go("presence");
  const lamp = (state) => view.one("lamp", `[data-presence="ann@${acme.realm}"][data-state="${state}"]`);
  const call = callId("dialog");
  await gateway.publish(presence(acme, "ann", "early", call));
  await lamp("ringing").waitFor();
  await gateway.publish(presence(acme, "ann", "confirmed", call));
  await lamp("busy").waitFor();
  await gateway.publish(presence(acme, "ann", "terminated", call), waiting(acme, "ann", 3));
  await lamp("idle").filter({ hasText: "3" }).waitFor();
  await view.close();
});

test("another account's events are never shown", async () => {
  const view = await board();
  const [theirs, ours] = [callId("theirs"), callId("ours")];
  await gateway.publish(
    channel("CHANNEL_CREATE", other, theirs, { "Caller-ID-Name": "Not For You" }),
    presence(other, "ann", "confirmed"),
    fax(other, "202603-theirs", { Status: "Not for you" }),
    document("doc_edited", other, "user", "theirs"),
    channel("CHANNEL_CREATE", acme, ours),
  );
  await view.call(ours).waitFor();
  assert.equal(await view.call(theirs).count(), 0);
  for (const key of ["presence", "faxes", "calls"]) {
    await view.go(key);
    assert.doesNotMatch(await view.page.locator("body").innerText(), /not for you|other\.example\.net/i);
  }
  await view.close();
});

test("the account switcher: another board, and nothing of the last one", async () => {
  const view = await Console.with(gateway, gateway.master);
  const [theirs, ours] = [callId("theirs"), callId("ours")];
  await gateway.publish(channel("CHANNEL_CREATE", acme, ours), channel("CHANNEL_CREATE", other, theirs));
  await view.call(ours).waitFor();
  await view.call(theirs).waitFor();
  await view.one("account-switch").selectOption(acme.id);
  await view.connected();
  await gateway.publish(channel("CHANNEL_ANSWER", other, theirs), channel("CHANNEL_ANSWER", acme, ours));
  await view.call(ours, "answered").waitFor();
  assert.equal(await view.call(theirs).count(), 0);
  await view.one("account-switch").selectOption(other.id);
  await view.connected();
  await gateway.publish(channel("CHANNEL_HOLD", acme, ours), channel("CHANNEL_HOLD", other, theirs));
  await view.call(theirs, "held").waitFor();
  assert.equal(await view.call(ours).count(), 0);
  await view.close();
});

test("hostile texts are shown as text", async () => {
  const view = await board();
  const names = {
    markup: `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`,
    long: "L".repeat(10_000),
    bidi: "\u202Egnp.exe\u2066 \u200F abc",
    nul: "zero\u0000width\u200B\uFEFF",
  };
  for (const [key, name] of Object.entries(names)) {
    const id = callId(key);
    await gateway.publish(channel("CHANNEL_CREATE", acme, id, { "Caller-ID-Name": name, "Callee-ID-Name": name, "Caller-ID-Number": name.slice(0, 300) }));
    const row = view.call(id);
    await row.waitFor();
    const { height } = await row.boundingBox();
    assert.ok(height < 100, `${key}: the row is ${height} pixels high`);
  }
  assert.equal(await view.page.locator('img[src="x"], main script').count(), 0);
  assert.doesNotMatch(await view.page.title(), /owned/);
  const shown = await view.page.locator("body").innerText();
  assert.match(shown, /<img src=x onerror=/);
  assert.ok(shown.length < 60_000, "long texts are cut");
  const wide = await view.page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  assert.equal(wide, false, "the page is not wider than the window");
  await view.picture("hostile");
  await view.close();
});

test("events of odd shapes break nothing", async () => {
  const view = await board();
  const odd = callId("odd");
  await gateway.publish(
    channel("CHANNEL_DESTROY", acme, callId("unseen"), { "Hangup-Cause": 7 }),
    channel("CHANNEL_BRIDGE", acme, odd, { "Other-Leg-Call-ID": { a: 1 }, "Caller-ID-Name": ["x"], "Caller-ID-Number": null, To: 5, Timestamp: "soon" }),
    channel("CHANNEL_ANSWER", acme, odd, { "Call-Direction": [], "Custom-Channel-Vars": { "Account-ID": acme.id, "Owner-ID": {} } }),
  );
  await view.call(odd).waitFor();
  const last = callId("last");
  await gateway.publish(channel("CHANNEL_CREATE", acme, last));
  await view.call(last, "ringing").waitFor();
  await view.close();
});

test("5,000 calls: only what is seen is in the page", async () => {
  const view = await board();
  const ids = Array.from({ length: 5000 }, () => callId("mass"));
  for (let start = 0; start < ids.length; start += 100) {
    const some = ids.slice(start, start + 100);
    await Promise.all(some.map((id) => gateway.publish(channel("CHANNEL_CREATE", acme, id))));
  }
  await view.page.waitForFunction(() => parseInt(document.querySelector('[data-test="count-active"]').innerText.replace(/\D/g, ""), 10) >= 5000);
  assert.ok((await view.one("call-row").count()) < 120);
  assert.ok(Number(await view.page.locator("[aria-rowcount]").first().getAttribute("aria-rowcount")) >= 5000);
  await view.one("call-search").fill(ids.at(-1));
  await view.call(ids.at(-1)).waitFor();
  await view.close();
});
