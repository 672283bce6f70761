// What every client has to do, whatever its library: query, mutate, follow the history and lose nothing.
//
// A client is { request(name, variables) → data, open(key) → session }, and a session is
// { follow(name, variables, sink) → stop, close(), connections }. `name` is an operation of operations.graphql; `sink` is
// { next({ cursor, node }), error(error), complete() }. Must never read the history but through the client.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

export const { SERVICE_URL: service, SERVICE_KEY: key } = process.env;
export const url = `${service}/graphql`;
export const socketUrl = url.replace(/^http/, "ws");

const written = readFileSync(new URL("operations.graphql", import.meta.url), "utf8").trim().split("\n\n");
export const OPERATIONS = Object.fromEntries(written.map((text) => [text.match(/^\w+ (\w+)/)[1], text]));
OPERATIONS.Wrong = "subscription Wrong { events { cursor nonsense } }";

/** A client whose subscriptions go on after the last cursor when their connection comes back. */
export function resuming(client) {
  return {
    ...client,
    subscribe(request, sink) {
      const { afterPosition, ...variables } = { ...request.variables };
      // Sent anew with each connection, as it is then.
      const resumed = { ...request, variables: { afterPosition, ...variables } };
      return client.subscribe(resumed, {
        next(result) {
          const [edge] = Object.values(result.data ?? {});
          if (edge?.cursor) resumed.variables = { ...variables, after: edge.cursor };
          sink.next(result);
        },
        error: (error) => sink.error(error),
        complete: () => sink.complete(),
      });
    },
  };
}

/** What an error says, in any of the forms that libraries give it. */
export function reason(error) {
  if (Array.isArray(error)) return error.map(reason).join("; ");
  if (error instanceof Error) return `${error.message}${error.cause ? ` (${reason(error.cause)})` : ""}`;
  if (error && "code" in error) return `${error.code} ${error.reason}`;
  return error?.message ?? JSON.stringify(error);
}

/** A subscription that is read: its edges, and how it ended. */
class Reader {
  edges = [];
  ended = null;
  #waiting = () => {};

  constructor(session, name, variables) {
    this.stop = session.follow(name, variables, {
      next: (edge) => this.#note(() => this.edges.push(edge)),
      error: (error) => this.#note(() => (this.ended ??= reason(error))),
      complete: () => this.#note(() => (this.ended ??= "complete")),
    });
  }

  #note(change) {
    change();
    this.#waiting();
  }

  get cursor() {
    return this.edges.at(-1).cursor;
  }

  async #until(isThere) {
    while (!isThere()) await new Promise((resolve) => (this.#waiting = resolve));
  }

  /** Wait for a number of edges. */
  async count(number) {
    await this.#until(() => this.edges.length >= number || this.ended);
    assert.equal(this.ended, null, "the subscription ended");
  }

  /** Wait for a position. */
  async position(position) {
    const reached = () => BigInt(this.edges.at(-1)?.node.position ?? 0) >= BigInt(position);
    await this.#until(() => reached() || this.ended);
    assert.ok(reached(), `the subscription ended: ${this.ended}`);
  }

  /** Wait for the end and tell how it was. */
  async end() {
    await this.#until(() => this.ended);
    return this.ended;
  }
}

async function create(client, count = 1, input = {}) {
  let created;
  for (let made = 0; made < count; made++) {
    ({ createToken: created } = await client.request("Create", { input: { name: `token ${made}`, ...input } }));
    assert.deepEqual(created.userErrors, []);
  }
  return created;
}

async function history(client, after = null) {
  const ids = [];
  for (let page, cursor = after; page?.pageInfo.hasNextPage ?? true; cursor = page.pageInfo.endCursor) {
    ({ events: page } = await client.request("History", { after: cursor }));
    ids.push(...page.edges.map(({ node }) => `${node.position} ${node.id}`));
  }
  return ids;
}

/** Hold what was read against the whole list, as far as it was read. */
async function assertWhole(client, edges, after = null) {
  const read = edges.map(({ node }) => `${node.position} ${node.id}`);
  assert.deepEqual(read, (await history(client, after)).slice(0, read.length));
}

const SCENARIOS = {
  async query(client) {
    const { viewer } = await client.request("Viewer", {});
    assert.deepEqual(viewer.scopes, ["*:*"]);
    assert.match(viewer.organization.id, /^org_/);
  },

  async mutation(client) {
    const created = await create(client, 1, { name: "made by a client", scopes: ["reports:read"] });
    assert.match(created.secret, /^entri_/);
    const { createToken } = await client.request("Create", { input: { name: " " } });
    assert.deepEqual(createToken.userErrors.map(({ code, field }) => [code, field]), [["INVALID", ["input", "name"]]]);
  },

  async resume(client) {
    const session = client.open(key);
    await create(client, 5);
    const first = new Reader(session, "Follow", { afterPosition: "0" });
    await first.count(3);
    first.stop();
    session.close();
    const edges = first.edges.slice(0, 3);
    const { position } = await create(client, 5);
    const next = client.open(key);
    const second = new Reader(next, "Follow", { after: edges[2].cursor });
    await second.position(position);
    await second.position((await create(client, 2)).position);
    second.stop();
    next.close();
    await assertWhole(client, [...edges, ...second.edges]);
  },

  async tokens(client) {
    const session = client.open(key);
    const made = await create(client);
    const reader = new Reader(session, "FollowTokens", { afterPosition: `${BigInt(made.position) - 1n}` });
    await reader.count(1);
    reader.stop();
    session.close();
    assert.equal(reader.edges[0].node.type, "TokenCreated");
    assert.equal(reader.edges[0].node.position, made.position);
  },

  async errors(client) {
    const session = client.open(key);
    for (let time = 0; time < 2; time++) {
      const wrong = new Reader(session, "Wrong", {});
      assert.match(await wrong.end(), /Cannot query field 'nonsense'/);
      const nowhere = new Reader(session, "Follow", { after: "nonsense" });
      assert.match(await nowhere.end(), /cursor/i);
    }
    session.close();
  },

  async revoked(client) {
    const { token, secret } = await create(client, 1, { scopes: ["events:read"] });
    const session = client.open(secret);
    const reader = new Reader(session, "Follow", { afterPosition: "0" });
    await reader.count(1);
    await client.request("Revoke", { id: token.id });
    assert.match(await reader.end(), session.refusal ?? /4401/);
    assert.equal(session.connections, 1, "it tried again");
    session.close();
  },

  async restart(client) {
    const session = client.open(key);
    const reader = new Reader(session, "Follow", { afterPosition: "0" });
    await reader.position((await create(client)).position);
    for (const [times, how] of ["restart", "kill"].entries()) {
      await ask(how);
      await reader.position((await create(client, 3)).position);
      assert.ok(session.connections > times + 1, "the connection was not cut");
    }
    reader.stop();
    session.close();
    await assertWhole(client, reader.edges);
  },

  async stalled(client) {
    const session = client.open(key);
    const begin = await create(client);
    const reader = new Reader(session, "Follow", { afterPosition: begin.position });
    await reader.position((await create(client)).position);
    await ask("stall");
    await reader.position((await create(client)).position);
    reader.stop();
    session.close();
    const whole = await history(client);
    const read = reader.edges.map(({ node }) => `${node.position} ${node.id}`);
    assert.deepEqual(read, whole.slice(Number(begin.position), Number(begin.position) + read.length));
  },
};

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** Have whoever runs this do something to the service or to this process. */
async function ask(what) {
  say({ ask: what });
  await answers.next();
}

function within(seconds, work) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`not done within ${seconds} s`)), seconds * 1000).unref();
  });
  return Promise.race([work, late]);
}

/** Play every scenario with a client, and those of its own. */
export const play = (client) => playScenarios({ ...SCENARIOS, ...client.scenarios }, client);

/** Play scenarios one after the other; say how each went. */
export async function playScenarios(scenarios, client) {
  const wanted = process.env.SCENARIOS?.split(",");
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (wanted && !wanted.includes(name)) continue;
    try {
      await within(60, scenario(client));
      say({ scenario: name, passed: true });
    } catch (error) {
      say({ scenario: name, passed: false, why: error.stack ?? reason(error) });
    }
  }
  process.exit(0);
}
