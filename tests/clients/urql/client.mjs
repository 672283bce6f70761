// urql, three ways: subscriptions over graphql-ws, over graphql-sse, and over its own fetch (`node client.mjs fetch`).

import { cacheExchange, createClient, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient as createSseClient } from "graphql-sse";
import { createClient as createSocketClient } from "graphql-ws";
import { onEnd, pipe, subscribe } from "wonka";
import WebSocket from "ws";

import { key, OPERATIONS, play, resuming, socketUrl, url } from "../scenario.mjs";

const way = process.argv[2];
const wait = () => new Promise((resolve) => setTimeout(resolve, 200));

const TRANSPORTS = {
  ws: (key, on) =>
    createSocketClient({
      url: socketUrl,
      webSocketImpl: WebSocket,
      connectionParams: { "X-API-Key": key },
      shouldRetry: () => true,
      retryAttempts: Infinity,
      retryWait: wait,
      on,
    }),
  sse: (key, on) => createSseClient({ url, headers: { "X-API-Key": key }, retryAttempts: Infinity, retry: wait, on }),
};

function connect(key, on) {
  const transport = TRANSPORTS[way] && resuming(TRANSPORTS[way](key, on));
  const forwarding = transport && {
    forwardSubscription: (request) => ({ subscribe: (sink) => ({ unsubscribe: transport.subscribe(request, sink) }) }),
  };
  const client = createClient({
    url,
    preferGetMethod: false,
    exchanges: [cacheExchange, ...(forwarding ? [subscriptionExchange(forwarding)] : []), fetchExchange],
    fetchSubscriptions: !forwarding,
    fetchOptions: { headers: { "X-API-Key": key } },
    fetch: (...request) => (forwarding || on.connecting(), fetch(...request)),
  });
  return { client, close: () => transport?.dispose() };
}

// Unsubscribing aborts urql's fetch, and nothing of urql's waits for what then becomes of the stream: Node.js would end.
process.on("unhandledRejection", (error) => {
  if (error.name !== "AbortError") throw error;
});

/** urql names an error of the network and errors of GraphQL: show what is in it. */
const unpacked = (error) => (error.graphQLErrors.length ? error.graphQLErrors : error.networkError);

/** One subscription, and what it answers. Returns its unsubscribe. */
function once(client, name, variables, sink) {
  let stopped = false;
  const { unsubscribe } = pipe(
    client.subscription(OPERATIONS[name], variables),
    onEnd(() => stopped || sink.complete()),
    subscribe(({ data, error, hasNext }) => {
      if (error) {
        stop(); // or else the next one to ask the same gets what this one got, and no more
        sink.error(unpacked(error));
      } else if (hasNext) sink.next(data.events ?? data.tokenEvents); // at the end urql repeats the last result
    }),
  );
  function stop() {
    stopped = true;
    unsubscribe();
  }
  return stop;
}

/** urql's fetch does not try again: go on after the last cursor whenever a stream ends without an error of GraphQL. */
function following(client, name, variables, sink) {
  let stop = () => {};
  let stopped = false;
  const again = () => wait().then(() => stopped || begin());
  function begin() {
    stop = once(client, name, variables, {
      next(edge) {
        variables = { after: edge.cursor };
        sink.next(edge);
      },
      error: (error) => (Array.isArray(error) ? sink.error(error) : again()),
      complete: again,
    });
  }
  begin();
  return () => {
    stopped = true;
    stop();
  };
}

await play({
  async request(name, variables) {
    const { client, close } = connect(key, { connecting() {} });
    const isMutation = OPERATIONS[name].startsWith("mutation");
    const made = isMutation
      ? client.mutation(OPERATIONS[name], variables)
      : client.query(OPERATIONS[name], variables, { requestPolicy: "network-only" });
    const { data, error } = await made.toPromise();
    close();
    if (error) throw unpacked(error);
    return data;
  },

  open(key) {
    const session = { connections: 0, refusal: way === "ws" ? /4401/ : /Unauthorized/ };
    const { client, close } = connect(key, { connecting: () => session.connections++ });
    const follow = way === "fetch" ? following : once;
    return Object.assign(session, { close, follow: (...subscription) => follow(client, ...subscription) });
  },
});
