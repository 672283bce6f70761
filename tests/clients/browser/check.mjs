// Chromium against the service: a front end as the how-to page has it, and other pages that try to use its session.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

import { key, playScenarios, service, url } from "../scenario.mjs";
import { serve } from "./front.mjs";

const HOW_TO = readFileSync(new URL("../../../docs/how-to/use-a-browser-front-end.md", import.meta.url), "utf8");
const [ASK] = HOW_TO.match(/^async function ask[^]*?^}$/m);
const SIGN_IN = HOW_TO.match(/`(mutation SignIn[^`]*)`/)[1];
const EMAIL = "grace@example.com";
const PASSWORD = "nine quiet brown otters";
const PROTOCOL = "graphql-transport-ws";
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
]; // prettier-ignore

async function operator(query, variables) {
  const headers = { "Content-Type": "application/json", "X-API-Key": key };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
  const { data, errors } = await answer.json();
  assert.equal(errors, undefined);
  return data;
}

async function names() {
  return (await operator("{ tokens(first: 100) { nodes { name } } }")).tokens.nodes.map(({ name }) => name);
}

/** Make an owner with a one-time password. */
async function invited(email) {
  const mutation = `mutation ($input: AddMemberInput!) { addMember(input: $input) { oneTimePassword userErrors { code } } }`;
  const { addMember } = await operator(mutation, { input: { email, name: "Grace", role: "OWNER" } });
  assert.deepEqual(addMember.userErrors, []);
  return addMember.oneTimePassword;
}

/** A page of the front end, which can ask as the how-to page has it. */
async function opened(context, front) {
  const page = await context.newPage();
  await page.goto(front);
  await page.addScriptTag({ content: ASK });
  return Object.assign(page, {
    ask: (query, variables) => page.evaluate(([q, v]) => ask(q, v), [query, variables]),
    signIn: (email, password) => page.ask(SIGN_IN, { input: { email, password } }).then(({ signIn }) => signIn),
  });
}

const seen = [];
const front = `http://localhost:${await serve(service, ({ method, headers }) => seen.push({ method, ...headers }))}/`;
const others = await serve(null);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGUMENTS });
const context = await browser.newContext();
const page = await opened(context, front);

const OTHERS = {
  "same site": `http://localhost:${others}/`, // cookies know no ports: its requests bear the session's
  "sub-domain": `http://page.localhost:${others}/`,
  "another site": `http://127.0.0.1:${others}/`,
};

/** What a page may try: each makes a token of this name if it is let. */
const ATTACKS = {
  text: async (to, body) => {
    await fetch(to, { method: "POST", mode: "no-cors", credentials: "include", body: JSON.stringify(body) });
  },
  json: async (to, body) => {
    const headers = { "Content-Type": "application/json" };
    await fetch(to, { method: "POST", credentials: "include", headers, body: JSON.stringify(body) });
  },
  get: async (to, { query }) => {
    const asked = `${to}?query=${encodeURIComponent(query)}`;
    await fetch(asked, { mode: "no-cors", credentials: "include" });
    await new Promise((done) => Object.assign(new Image(), { onerror: done, onload: done, src: asked }));
  },
  beacon: async (to, body) => {
    navigator.sendBeacon(to, new Blob([JSON.stringify(body)], { type: "text/plain" }));
    navigator.sendBeacon(to, new Blob([JSON.stringify(body)], { type: "application/json" }));
  },
  form: async (to, body) => {
    for (const enctype of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      const frame = Object.assign(document.createElement("iframe"), { name: enctype });
      const form = Object.assign(document.createElement("form"), { method: "post", action: to, enctype, target: enctype });
      const text = JSON.stringify(body);
      form.append(Object.assign(document.createElement("input"), { name: `${text.slice(0, -1)},"a":"`, value: '"}' }));
      form.append(Object.assign(document.createElement("input"), { name: "query", value: body.query }));
      document.body.append(frame, form);
      const loaded = new Promise((done) => frame.addEventListener("load", done));
      form.submit();
      await loaded;
    }
  },
  socket: async (to, body) => {
    const said = await new Promise((done) => {
      const socket = new WebSocket(to.replace("http", "ws"), "graphql-transport-ws");
      const heard = [];
      socket.onopen = () => socket.send('{"type":"connection_init"}');
      socket.onmessage = ({ data }) => {
        heard.push(data);
        socket.send(JSON.stringify({ id: "1", type: "subscribe", payload: body }));
        setTimeout(() => done(heard), 500);
      };
      socket.onclose = () => done(heard);
    });
    if (said.length) throw new Error(`the socket said ${said}`);
  },
};

/** How many requests each comes to us with, if only to ask whether it may. */
const REQUESTS = { text: 1, json: 1, get: 2, beacon: 2, form: 3, socket: 1 };

const SCENARIOS = {
  async "sign in"() {
    const oneTime = await invited(EMAIL);
    assert.equal((await page.signIn(EMAIL, "not the password")).userErrors[0].code, "WRONG_CREDENTIALS");
    const { viewer, userErrors } = await page.signIn(EMAIL, oneTime);
    assert.deepEqual([userErrors, viewer.mustChangePassword, viewer.principal.role], [[], true, "OWNER"]);
    const change = `mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { userErrors { code } } }`;
    const { changePassword } = await page.ask(change, { input: { currentPassword: oneTime, newPassword: PASSWORD } });
    assert.deepEqual(changePassword.userErrors, []);
    const [cookie, ...more] = await context.cookies();
    assert.deepEqual([more, cookie.httpOnly, cookie.sameSite, cookie.path], [[], true, "Lax", "/"]);
    assert.equal(await page.evaluate(() => document.cookie), "");
  },

  async "after a reload"() {
    const again = await opened(context, front);
    assert.equal((await again.ask("{ viewer { principal { ... on Member { name } } } }")).viewer.principal.name, "Grace");
    await again.close();
  },

  async streams() {
    const made = await page.evaluate(async () => {
      const { createClient: overSocket } = await import("/modules/graphql-ws/dist/client.js");
      const { createClient: overEvents } = await import("/modules/graphql-sse/lib/client.mjs");
      const clients = [
        overSocket({ url: `ws://${location.host}/graphql` }),
        overEvents({ url: "/graphql", singleConnection: false }),
      ];
      const query = 'subscription { events(afterPosition: "0") { node { type } } }';
      const firsts = clients.map(async (client) => {
        for await (const { data, errors } of client.iterate({ query })) return data?.events.node.type ?? errors;
      });
      return Promise.all(firsts);
    });
    assert.deepEqual(made, ["OrganizationCreated", "OrganizationCreated"]);
  },

  async "other pages"() {
    const to = `${front}graphql`;
    for (const [whose, origin] of Object.entries(OTHERS)) {
      const other = await context.newPage();
      await other.goto(origin);
      for (const [how, attack] of Object.entries(ATTACKS)) {
        const query = `mutation { createToken(input: {name: "${how} from ${whose}"}) { token { id } } }`;
        seen.length = 0;
        const refused = await other.evaluate(`(${attack})(${JSON.stringify(to)}, ${JSON.stringify({ query })})`).then(
          () => null,
          (error) => error.message,
        );
        if (how === "json") assert.match(refused, /Failed to fetch/);
        else assert.equal(refused, null, `${how} from ${whose}`);
        while (seen.length < REQUESTS[how]) await other.waitForTimeout(20); // a beacon goes when it likes
        assert.ok(whose !== "same site" || how === "json" || seen.some(({ cookie }) => cookie), `${how} had no cookie`);
      }
      const read = `fetch(${JSON.stringify(to)}, { credentials: "include" }).then((it) => it.text())`;
      await assert.rejects(other.evaluate(read), /Failed to fetch/, `${whose} reads our answers`);
      await other.close();
    }
    assert.deepEqual(await names().then((all) => all.filter((name) => name.includes(" from "))), []);
    const { createToken } = await page.ask('mutation { createToken(input: {name: "by our own"}) { token { name } } }');
    assert.equal(createToken.token.name, "by our own"); // the session that they had at hand was good all the time
  },

  async "links to us"() {
    const other = await context.newPage();
    await other.goto(OTHERS["another site"]);
    const query = encodeURIComponent("{ tokens(first: 1) { nodes { name } } }");
    const [answer] = await Promise.all([
      other.waitForNavigation(),
      other.evaluate(`void (location.href = "${front}graphql?query=${query}")`),
    ]);
    assert.ok(answer.status() >= 400, `GET with a cookie is answered with ${answer.status()}`);
    await other.close();
  },

  async "sign out"() {
    const closed = page.evaluate(async () => {
      const socket = new WebSocket(`ws://${location.host}/graphql`, "graphql-transport-ws");
      await new Promise((done) => (socket.onopen = done));
      socket.send('{"type":"connection_init"}');
      await new Promise((done) => (socket.onmessage = done));
      window.isConnected = true;
      return new Promise((done) => (socket.onclose = ({ code }) => done(code)));
    });
    await page.waitForFunction("window.isConnected");
    await page.ask("mutation { signOut { signedOut } }");
    assert.equal(await closed, 4401);
    assert.deepEqual(await context.cookies(), []);
    await assert.rejects(opened(context, front).then((it) => it.ask("{ viewer { scopes } }")), /Unauthorized/);
  },

  async explorer() {
    const explorer = await (await browser.newContext()).newPage();
    const wrong = [];
    explorer.on("console", (line) => line.type() === "error" && wrong.push(line.text()));
    explorer.on("pageerror", (error) => wrong.push(error.message));
    explorer.on("request", (asked) => asked.url().startsWith(service) || wrong.push(asked.url()));
    await explorer.goto(url);
    const run = async (query, variables, expected) => {
      await explorer.fill("#query", query);
      await explorer.fill("#variables", variables ? JSON.stringify(variables) : "");
      await explorer.click("#run");
      await explorer.waitForFunction((text) => document.querySelector("#response").textContent.includes(text), expected);
    };
    await run(SIGN_IN, { input: { email: EMAIL, password: PASSWORD } }, '"role": "OWNER"');
    await run("{ viewer { principal { ... on Member { name } } } }", null, '"name": "Grace"');
    await explorer.fill("#key", key);
    await run("{ viewer { principal { __typename } } }", null, '"__typename": "Token"');
    assert.deepEqual(wrong, []);
  },
};

await playScenarios(SCENARIOS);
