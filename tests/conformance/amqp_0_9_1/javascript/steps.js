// Steps that the cases share: where the broker is, unique names, waiting with a deadline, expected refusals.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after } from "node:test";
import amqp from "amqplib";

export const url = process.env.AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672/%2f";

const DEADLINE = 15_000;
const connections = [];
const exchanges = [];

// Runs when a file's tests have ended.
after(async () => {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  for (const exchange of exchanges) await channel.deleteExchange(exchange);
  await connection.close();
  await Promise.all(connections.map((opened) => opened.close().catch(() => {})));
});

// Connects; the connection is closed when the file's tests have ended.
export async function connect(options = "", socketOptions = {}) {
  const connection = await amqp.connect(url + options, socketOptions);
  connection.on("error", () => {});
  connections.push(connection);
  return connection;
}

// A channel whose errors are kept: `channel.failure` resolves with the broker's refusal.
export async function openChannel(connection, kind = "createChannel") {
  const channel = await connection[kind]();
  channel.failure = new Promise((resolve) => channel.on("error", resolve));
  return channel;
}

// A name that no other test uses.
export function unique(kind = "name") {
  return `conformance.${kind}.${randomUUID().slice(0, 13)}`;
}

// An exclusive queue with these arguments; it goes with its connection.
export async function declareQueue(channel, options = {}) {
  const { queue } = await channel.assertQueue(unique("queue"), { exclusive: true, ...options });
  return queue;
}

// A transient exchange, deleted when the file's tests have ended.
export async function declareExchange(channel, type, options = {}) {
  const exchange = unique("exchange");
  exchanges.push(exchange);
  await channel.assertExchange(exchange, type, { durable: false, ...options });
  return exchange;
}

// Polls until `condition` gives something true; fails at the deadline.
export async function until(condition, what) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < end, `${what} did not come true`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// The promise's value, or a failure at the deadline.
export async function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), DEADLINE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// Polls basic.get until a message is there.
export function getOne(channel, queue, options = { noAck: true }) {
  return until(() => channel.get(queue, options), `a message in ${queue}`);
}

// The bodies of the next `count` messages.
export async function getBodies(channel, queue, count) {
  const bodies = [];
  while (bodies.length < count) bodies.push((await getOne(channel, queue)).content.toString());
  return bodies;
}

// Ready messages by a passive declare.
export async function depth(channel, queue) {
  return (await channel.checkQueue(queue)).messageCount;
}

// Consumes and keeps what comes: `inbox.messages`, `inbox.bodies()`, `inbox.wait(count)`; null is a cancel by the broker.
export async function consume(channel, queue, options = {}) {
  const inbox = { messages: [], cancelled: false };
  const onMessage = (message) => (message === null ? (inbox.cancelled = true) : inbox.messages.push(message));
  inbox.tag = (await channel.consume(queue, onMessage, options)).consumerTag;
  inbox.bodies = () => inbox.messages.map((message) => message.content.toString());
  inbox.wait = async (count) => {
    await until(() => inbox.messages.length >= count, `${count} deliveries`);
    return inbox.bodies();
  };
  return inbox;
}

// Asserts that the operation is refused with this code, and a text that contains `text`.
export async function refused(operation, code, text = "") {
  const error = await soon(
    operation.then(
      () => assert.fail("was not refused"),
      (reason) => reason,
    ),
    "the refusal",
  );
  assert.equal(error.code, code, error.message);
  assert.ok(error.message.includes(text), `${error.message} does not say ${text}`);
}
