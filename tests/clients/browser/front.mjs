// A front end's development server, and the server of somebody else's pages: pages, modules, and the way on to the service.

import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { connect } from "node:net";

const MODULES = new URL("node_modules/", import.meta.url);
const PAGE = "<!doctype html><meta charset=utf-8><link rel=icon href='data:,'><title>page</title>";

/** Serve pages and modules on a port of its own; what is for the service is shown, and goes there as the browser sent it. */
export async function serve(service, show = () => {}) {
  const server = createServer(async (asked, answer) => {
    if (asked.url === "/") return answer.writeHead(200, { "Content-Type": "text/html" }).end(PAGE);
    if (asked.url.startsWith("/modules/")) {
      const text = await readFile(new URL(asked.url.slice("/modules/".length), MODULES));
      return answer.writeHead(200, { "Content-Type": "text/javascript" }).end(text);
    }
    if (!service) return answer.writeHead(404).end();
    show(asked);
    const on = request(`${service}${asked.url}`, { method: asked.method, headers: asked.headers }, (came) => {
      answer.writeHead(came.statusCode, came.headers);
      came.pipe(answer);
    });
    on.on("error", () => answer.destroy());
    answer.on("close", () => on.destroy());
    asked.pipe(on);
  });
  server.on("upgrade", (asked, socket, head) => {
    if (!service) return socket.destroy();
    show(asked);
    const on = connect(new URL(service).port, "127.0.0.1", () => {
      const { rawHeaders: raw } = asked;
      const lines = raw.flatMap((name, at) => (at % 2 ? [] : [`${name}: ${raw[at + 1]}`]));
      on.write(`${[`${asked.method} ${asked.url} HTTP/1.1`, ...lines].join("\r\n")}\r\n\r\n`);
      on.write(head);
      socket.pipe(on).pipe(socket);
    });
    for (const end of [on, socket]) end.on("error", () => (on.destroy(), socket.destroy()));
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  return server.address().port;
}
