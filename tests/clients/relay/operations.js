// What a page about tokens asks for, in Relay's manner. Only its compiler reads this file.

graphql`
  query operationsViewerQuery {
    viewer {
      scopes
      organization {
        id
        name
      }
      principal {
        __typename
        ... on Token {
          ...operations_token @alias(as: "token")
        }
      }
    }
  }
`;

graphql`
  fragment operations_token on Token {
    id
    name
    hint
    status
    scopes
    expiresAt
    lastUsedAt
    createdBy {
      id
      displayName
    }
    overlap {
      previousHint
      endsAt
    }
  }
`;

// Pages of the organization's tokens.
graphql`
  query operationsTokensQuery($count: Int!, $filter: TokenFilter) {
    ...operations_tokens @arguments(count: $count, filter: $filter)
  }
`;

graphql`
  fragment operations_tokens on Query
  @argumentDefinitions(
    count: { type: "Int", defaultValue: 20 }
    cursor: { type: "String" }
    filter: { type: "TokenFilter" }
  )
  @refetchable(queryName: "operationsTokensPageQuery") {
    tokens(first: $count, after: $cursor, filter: $filter) @connection(key: "operations_tokens", filters: ["filter"]) {
      totalCount
      edges {
        node {
          id
          ...operations_token
        }
      }
    }
  }
`;

// Pages of one token's history, refetched through node(id:).
graphql`
  query operationsTokenQuery($id: ID!) {
    node(id: $id) {
      ...operations_token @alias(as: "token")
      ...operations_history @alias(as: "history")
    }
  }
`;

graphql`
  fragment operations_history on Token
  @argumentDefinitions(count: { type: "Int", defaultValue: 1 }, cursor: { type: "String" })
  @refetchable(queryName: "operationsHistoryPageQuery") {
    events(first: $count, after: $cursor, order: OLDEST_FIRST) @connection(key: "operations_events") {
      edges {
        node {
          ...operations_event
        }
      }
    }
  }
`;

graphql`
  fragment operations_event on Event {
    id
    position
    type
    occurredAt
    entry
    payload
    actor {
      id
      displayName
    }
    ... on TokenCreated {
      scopes
      token {
        ...operations_token
      }
    }
    ... on TokenRevoked {
      reason
    }
  }
`;

graphql`
  mutation operationsCreateMutation($input: CreateTokenInput!) {
    createToken(input: $input) {
      token {
        id
        name
        ...operations_token
      }
      secret
      position
      userErrors {
        code
        message
        field
      }
    }
  }
`;

graphql`
  mutation operationsRevokeMutation($id: ID!) {
    revokeToken(input: { id: $id }) {
      token {
        id
        status
      }
      userErrors {
        code
      }
    }
  }
`;

graphql`
  query operationsHistoryQuery($after: String) {
    events(first: 100, after: $after, order: OLDEST_FIRST) {
      edges {
        cursor
        node {
          id
          position
          type
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;

// Each event goes to the end of the connections that are shown.
graphql`
  subscription operationsFollowSubscription($after: String, $afterPosition: String, $connections: [ID!]!) {
    events(after: $after, afterPosition: $afterPosition) @appendEdge(connections: $connections) {
      cursor
      node {
        id
        position
        type
        ...operations_event
      }
    }
  }
`;

graphql`
  subscription operationsFollowTokensSubscription($after: String, $afterPosition: String) {
    tokenEvents(after: $after, afterPosition: $afterPosition) {
      cursor
      node {
        id
        position
        type
        token {
          ...operations_token
        }
      }
    }
  }
`;
