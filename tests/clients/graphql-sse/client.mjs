// graphql-sse in its distinct connections mode: a request for each operation.

import { createClient } from "graphql-sse";

import { key, OPERATIONS, play, resuming, url } from "../scenario.mjs";

function connect(key, onConnecting = () => {}) {
  return createClient({
    url,
    headers: { "X-API-Key": key },
    retryAttempts: Infinity,
    retry: () => new Promise((resolve) => setTimeout(resolve, 200)),
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
      client.dispose();
    }
  },

  open(key) {
    const session = { connections: 0, refusal: /Unauthorized/ };
    const client = resuming(connect(key, () => session.connections++));
    return Object.assign(session, {
      close: () => client.dispose(),
      follow(name, variables, sink) {
        let failed = null; // a client that says `complete` does not try again
        return client.subscribe(
          { query: OPERATIONS[name], variables },
          {
            next: ({ data, errors }) => (errors ? (failed = errors) : sink.next(data.events ?? data.tokenEvents)),
            error: (error) => sink.error(error),
            complete: () => (failed ? sink.error(failed) : sink.complete()),
          },
        );
      },
    });
  },
});
