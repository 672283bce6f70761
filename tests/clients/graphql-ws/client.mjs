// graphql-ws alone: everything over one WebSocket, queries and mutations too.

import { createClient } from "graphql-ws";
import WebSocket from "ws";

import { key, OPERATIONS, play, resuming, socketUrl } from "../scenario.mjs";

function connect(key, onConnecting = () => {}) {
  return createClient({
    url: socketUrl,
    webSocketImpl: WebSocket,
    connectionParams: { "X-API-Key": key },
    shouldRetry: () => true, // a refused connection too; 4401 and its like are never tried again
    retryAttempts: Infinity,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 200)),
    on: { connecting: onConnecting },
  });
}

await play({
  async request(name, variables) {
    const client = connect(key);
    try {
      for await (const { data, errors } of client.iterate({ query: OPERATIONS[name], variables })) {
        if (errors) throw errors;
        return data;
      }
    } finally {
      await client.dispose();
    }
  },

  open(key) {
    const session = { connections: 0 };
    const client = resuming(connect(key, () => session.connections++));
    return Object.assign(session, {
      close: () => client.dispose(),
      follow: (name, variables, sink) =>
        client.subscribe(
          { query: OPERATIONS[name], variables },
          { ...sink, next: ({ data }) => sink.next(data.events ?? data.tokenEvents) },
        ),
    });
  },
});
