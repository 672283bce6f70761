// Apollo Client: queries and mutations over its HttpLink, subscriptions over GraphQLWsLink.

import { ApolloClient, ApolloLink, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { OperationTypeNode } from "graphql";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

import { key, OPERATIONS, play, resuming, socketUrl, url } from "../scenario.mjs";

globalThis.WebSocket ??= WebSocket; // before Node.js 22: GraphQLWsLink looks at it when something goes wrong

const cache = () =>
  new InMemoryCache({ possibleTypes: { Node: ["Token", "Organization"], Principal: ["Token"] } });

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
  const link = ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(resuming(socket)),
    new HttpLink({ uri: url, headers: { "X-API-Key": key } }),
  );
  const client = new ApolloClient({ link, cache: cache() });
  return { client, close: () => (client.stop(), socket.dispose()) };
}

const DOCUMENTS = Object.fromEntries(Object.entries(OPERATIONS).map(([name, text]) => [name, gql(text)]));

await play({
  async request(name, variables) {
    const { client, close } = connect(key);
    try {
      const { data } = OPERATIONS[name].startsWith("mutation")
        ? await client.mutate({ mutation: DOCUMENTS[name], variables })
        : await client.query({ query: DOCUMENTS[name], variables, fetchPolicy: "network-only" });
      return data;
    } finally {
      close();
    }
  },

  open(key) {
    const session = { connections: 0 };
    const { client, close } = connect(key, () => session.connections++);
    return Object.assign(session, {
      close,
      follow(name, variables, sink) {
        const failed = (error) => sink.error(CombinedGraphQLErrors.is(error) ? [...error.errors] : error);
        const subscription = client
          .subscribe({ query: DOCUMENTS[name], variables, fetchPolicy: "no-cache" })
          .subscribe({
            next: ({ data, error }) => (error ? failed(error) : sink.next(data.events ?? data.tokenEvents)),
            error: failed,
            complete: () => sink.complete(),
          });
        return () => subscription.unsubscribe();
      },
    });
  },
});
