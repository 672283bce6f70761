// Audits a running server for GraphQL over HTTP. URL and KEY come from the environment; exits with 1 if anything is not ok.
import { auditServer } from "graphql-http";

const { URL: url, KEY: key } = process.env;
if (!url || !key) {
  console.error("Set URL to the address of /graphql and KEY to an API key.");
  process.exit(2);
}

// Every request needs a credential, of which the audits know nothing.
const fetchFn = (address, init = {}) => fetch(address, { ...init, headers: { ...init.headers, "X-API-Key": key } });

const results = await auditServer({ url, fetchFn });
for (const { id, name, status, reason } of results) {
  console.log(`${status.padEnd(6)} ${id} ${name}${reason ? `: ${reason}` : ""}`);
}
const failed = results.filter(({ status }) => status !== "ok").length;
console.log(`${results.length - failed} passed, ${failed} failed`);
process.exitCode = results.length > 0 && failed === 0 ? 0 : 1;
