// Better Auth's API-key verification behind the least HTTP server that Node.js has. Its own defaults, but one: the rate
// limit of a key (10 a day) is off. `PG…` variables lead to the database; the keys that it makes go to the file KEYS.
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import pg from "pg";

const HOST = "127.0.0.1";

const options = {
  baseURL: `http://${HOST}`,
  secret: randomBytes(32).toString("hex"),
  database: new pg.Pool({ max: Number(process.env.POOL) }),
  emailAndPassword: { enabled: true },
  plugins: [apiKey()],
};
await (await getMigrations(options)).runMigrations();
const auth = betterAuth(options);

async function keys(count) {
  const person = { email: "gateway@example.com", name: "gateway", password: randomBytes(16).toString("hex") };
  const { user } = await auth.api.signUpEmail({ body: person });
  const made = [];
  for (let number = 0; number < count; number++) {
    made.push((await auth.api.createApiKey({ body: { userId: user.id, rateLimitEnabled: false } })).key);
  }
  return made;
}

writeFileSync(process.env.KEYS, (await keys(Number(process.env.COUNT))).join("\n") + "\n", { mode: 0o600 });

const server = createServer(async (request, response) => {
  const { valid } = await auth.api.verifyApiKey({ body: { key: request.headers["x-api-key"] ?? "" } });
  response.writeHead(valid ? 200 : 401, { "Content-Length": 0, "Cache-Control": "no-store" });
  response.end();
});
server.listen(0, HOST, () => console.log(server.address().port));
