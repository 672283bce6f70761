// Relay: what its compiler made of operations.js, run by its runtime; subscriptions over graphql-ws.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createClient } from "graphql-ws";
import relay from "relay-runtime";
import WebSocket from "ws";

import { key, OPERATIONS, play, reason, resuming, socketUrl, url } from "../scenario.mjs";

const { Environment, Network, Observable, RecordSource, Store } = relay;
const { commitMutation, createOperationDescriptor, fetchQuery, getSelector, requestSubscription } = relay;

const require = createRequire(import.meta.url);
const compiled = (name) => require(`./__generated__/operations${name}.graphql.js`);
const DOCUMENTS = {
  Viewer: compiled("ViewerQuery"),
  Create: compiled("CreateMutation"),
  Revoke: compiled("RevokeMutation"),
  History: compiled("HistoryQuery"),
  Follow: compiled("FollowSubscription"),
  FollowTokens: compiled("FollowTokensSubscription"),
};
// The compiler refuses what the schema has not, so the text is put in afterwards.
const follow = DOCUMENTS.Follow;
DOCUMENTS.Wrong = { ...follow, params: { ...follow.params, cacheID: "wrong", name: "Wrong", text: OPERATIONS.Wrong } };

async function post({ text, name }, variables, key) {
  const body = JSON.stringify({ query: text, operationName: name, variables });
  const headers = { "Content-Type": "application/json", "X-API-Key": key };
  return (await fetch(url, { method: "POST", headers, body })).json();
}

function connect(key, onConnecting = () => {}) {
  const socket = createClient({
    url: socketUrl,
    webSocketImpl: WebSocket,
    connectionParams: { "X-API-Key": key },
    shouldRetry: () => true,
    retryAttempts: Infinity,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 200)),
    on: { connecting: onConnecting },
  });
  const client = resuming(socket);
  const subscribe = ({ text, name }, variables) =>
    Observable.create(({ next, error, complete }) =>
      client.subscribe(
        { query: text, operationName: name, variables },
        { next, complete, error: (thrown) => error(thrown instanceof Error ? thrown : new Error(reason(thrown))) },
      ),
    );
  const network = Network.create((params, variables) => post(params, variables, key), subscribe);
  return { environment: new Environment({ network, store: new Store(new RecordSource()) }), socket };
}

/** Read a fragment of what an operation brought. */
function read(environment, fragment, reference) {
  return environment.lookup(getSelector(fragment, reference)).data;
}

async function pages(client) {
  const { environment } = connect(key);
  const created = await client.request("Create", { input: { name: "paged", scopes: ["reports:read"] } });
  const { id } = created.createToken.token;
  await client.request("Revoke", { id });

  const operation = createOperationDescriptor(compiled("TokensQuery"), { count: 1, filter: { search: "paged" } });
  await fetchQuery(environment, operation.request.node, operation.request.variables).toPromise();
  const { tokens } = read(environment, compiled("_tokens"), environment.lookup(operation.fragment).data);
  assert.equal(tokens.edges[0].node.id, id);
  const token = read(environment, compiled("_token"), tokens.edges[0].node);
  assert.deepEqual([token.name, token.scopes, token.status], ["paged", ["reports:read"], "REVOKED"]);

  const history = createOperationDescriptor(compiled("TokenQuery"), { id });
  environment.retain(history);
  await fetchQuery(environment, history.request.node, { id }).toPromise();
  const events = () => read(environment, compiled("_history"), environment.lookup(history.fragment).data.node.history);
  const first = events().events;
  assert.equal(first.edges.length, 1);
  const cursor = first.pageInfo.endCursor;
  await fetchQuery(environment, compiled("HistoryPageQuery"), { id, count: 2, cursor }).toPromise();
  const types = events().events.edges.map(({ node }) => read(environment, compiled("_event"), node).type);
  assert.deepEqual(types, ["TokenCreated", "TokenRevoked"]);
}

await play({
  scenarios: { pages },

  async request(name, variables) {
    const { environment } = connect(key);
    if (DOCUMENTS[name].operation.name.endsWith("Mutation")) {
      return new Promise((onCompleted, onError) => {
        commitMutation(environment, { mutation: DOCUMENTS[name], variables, onCompleted, onError });
      });
    }
    return fetchQuery(environment, DOCUMENTS[name], variables).toPromise();
  },

  open(key) {
    const session = { connections: 0 };
    const { environment, socket } = connect(key, () => session.connections++);
    return Object.assign(session, {
      close: () => socket.dispose(),
      follow(name, variables, sink) {
        const { dispose } = requestSubscription(environment, {
          subscription: DOCUMENTS[name],
          variables: { connections: [], ...variables },
          onNext(data) {
            const edge = data.events ?? data.tokenEvents;
            sink.next(edge);
          },
          onError: (error) => sink.error(error),
          onCompleted: () => sink.complete(),
        });
        return dispose;
      },
    });
  },
});
