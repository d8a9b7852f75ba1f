// The first program of a new user, run as they would run it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { url } from "./steps.js";

const LINES = "1 GOOG 616.47\n2 RHT 42.46\n3 VMW 78.25\n4 CSCO 23.29\n5 IBM 141.43\n";

for (const kind of ["direct", "topic", "fanout", "headers"]) {
  test(`five stock lines through ${kind}`, async () => {
    const program = new URL("stock_lines.js", import.meta.url).pathname;
    const options = { env: { ...process.env, AMQP_URL: url }, timeout: 30_000 };
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, kind], options);
    assert.deepEqual([stdout, stderr], [LINES, ""]);
  });
}

for (const words of [[], ["sideways"]]) {
  test(`usage instead of a stack trace for ${JSON.stringify(words)}`, async () => {
    const program = new URL("stock_lines.js", import.meta.url).pathname;
    const run = promisify(execFile)(process.execPath, [program, ...words], { timeout: 30_000 });
    await assert.rejects(run, { code: 2, stderr: "usage: node stock_lines.js direct|topic|fanout|headers\n" });
  });
}
