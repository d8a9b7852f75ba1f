// Messages, consumers, acknowledgements, confirms and returns as amqplib has them.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { connect, consume, declareExchange, declareQueue, depth, getBodies, getOne, openChannel, refused, soon, unique, until } from "./steps.js";

let connection;
let channel;
let queue;
before(async () => {
  connection = await connect();
});

async function fresh() {
  channel = await openChannel(connection);
  queue = await declareQueue(channel);
}

const send = (...bodies) => bodies.forEach((body) => channel.sendToQueue(queue, Buffer.from(body)));

test("properties and headers come back with their types", async () => {
  await fresh();
  const sent = {
    contentType: "text/plain",
    contentEncoding: "utf-8",
    headers: { text: "value", number: 7, big: 2 ** 40, fraction: 0.5, flag: true, nothing: null, list: [1, "two"], nested: { deep: 1 } },
    deliveryMode: 2,
    priority: 4,
    correlationId: "c",
    replyTo: "r",
    expiration: "60000",
    messageId: "m",
    timestamp: 1_700_000_000,
    type: "t",
    userId: "guest",
    appId: "a",
  };
  channel.sendToQueue(queue, Buffer.from("m"), sent);
  const { properties } = await getOne(channel, queue);
  for (const [name, value] of Object.entries(sent)) assert.deepEqual(properties[name], value, name);
});

test("trap 7: amqplib's explicit field types come back by value", async () => {
  await fresh();
  const headers = {};
  for (const [type, value] of [["byte", -1], ["short", -300], ["int", 70_000], ["long", 5_000_000_000], ["float", 0.25], ["double", 616.47], ["timestamp", 1_700_000_000]]) {
    headers[type] = { "!": type, value };
  }
  channel.sendToQueue(queue, Buffer.from("m"), { headers });
  const got = (await getOne(channel, queue)).properties.headers;
  assert.equal(got.byte, -1);
  assert.equal(got.short, -300);
  assert.equal(got.int, 70_000);
  assert.equal(got.long, 5_000_000_000);
  assert.equal(got.float, 0.25);
  assert.equal(got.double, 616.47);
  assert.equal(got.timestamp.value, 1_700_000_000);
});

test("an empty body and a large one come whole", async () => {
  await fresh();
  for (const size of [0, 3_000_000]) {
    const body = Buffer.alloc(size, 5);
    channel.sendToQueue(queue, body);
    assert.ok((await getOne(channel, queue)).content.equals(body));
  }
});

test("get says false when there is nothing", async () => {
  await fresh();
  assert.equal(await channel.get(queue), false);
});

test("a consumer gets messages in order", async () => {
  await fresh();
  const sent = Array.from({ length: 500 }, (_, number) => String(number));
  const inbox = await consume(channel, queue, { noAck: true });
  send(...sent);
  assert.deepEqual(await inbox.wait(500), sent);
});

test("prefetch holds back until an ack", async () => {
  await fresh();
  send("1", "2", "3");
  await channel.prefetch(1);
  const inbox = await consume(channel, queue);
  await inbox.wait(1);
  await until(async () => (await depth(channel, queue)) === 2, "two left behind");
  assert.deepEqual(inbox.bodies(), ["1"]);
  channel.ack(inbox.messages[0]);
  assert.deepEqual(await inbox.wait(2), ["1", "2"]);
});

test("a global prefetch is shared by the channel's consumers", async () => {
  await fresh();
  const second = await declareQueue(channel);
  await channel.prefetch(3, true);
  for (const target of [queue, second]) for (const body of ["1", "2", "3"]) channel.sendToQueue(target, Buffer.from(body));
  const inboxes = [await consume(channel, queue), await consume(channel, second)];
  const count = () => inboxes[0].messages.length + inboxes[1].messages.length;
  await until(() => count() === 3, "three deliveries");
  channel.ackAll();
  await until(() => count() === 6, "the rest");
});

test("nack with requeue brings the message back, redelivered and in its place", async () => {
  await fresh();
  send("1", "2");
  const first = await getOne(channel, queue, {});
  channel.nack(first);
  const again = await getOne(channel, queue);
  assert.deepEqual([again.content.toString(), again.fields.redelivered], ["1", true]);
  assert.equal((await getOne(channel, queue)).content.toString(), "2");
});

test("reject without requeue dead-letters with an x-death", async () => {
  await fresh();
  const target = queue;
  const source = await declareQueue(channel, { deadLetterExchange: "", deadLetterRoutingKey: target });
  channel.sendToQueue(source, Buffer.from("m"));
  channel.reject(await getOne(channel, source, {}), false);
  const [death] = (await getOne(channel, target)).properties.headers["x-death"];
  assert.equal(death.count, 1);
  assert.equal(death.reason, "rejected");
  assert.equal(death.queue, source);
  assert.deepEqual(death["routing-keys"], [source]);
});

test("an expired message dead-letters", async () => {
  await fresh();
  const source = await declareQueue(channel, { messageTtl: 20, deadLetterExchange: "", deadLetterRoutingKey: queue });
  channel.sendToQueue(source, Buffer.from("m"));
  assert.equal((await getOne(channel, queue)).properties.headers["x-first-death-reason"], "expired");
});

test("an unknown delivery tag closes the channel with 406", async () => {
  await fresh();
  channel.ack({ fields: { deliveryTag: 99 } });
  const error = await soon(channel.failure, "channel.close");
  assert.equal(error.code, 406);
  assert.match(error.message, /unknown delivery tag 99/);
});

test("ackAll and nackAll take everything", async () => {
  await fresh();
  send("1", "2");
  await getOne(channel, queue, {});
  await getOne(channel, queue, {});
  channel.nackAll();
  assert.deepEqual(await getBodies(channel, queue, 2), ["1", "2"]);
  send("3");
  await getOne(channel, queue, {});
  channel.ackAll();
  await channel.recover();
  assert.equal(await depth(channel, queue), 0);
});

test("recover brings unacked messages back", async () => {
  await fresh();
  send("1", "2");
  const inbox = await consume(channel, queue);
  await inbox.wait(2);
  await channel.recover();
  await inbox.wait(4);
  assert.deepEqual(inbox.messages.slice(2).map((message) => message.fields.redelivered), [true, true]);
});

test("cancel ends a consumer", async () => {
  await fresh();
  const inbox = await consume(channel, queue);
  await channel.cancel(inbox.tag);
  send("m");
  await until(async () => (await depth(channel, queue)) === 1, "the message stays");
  assert.deepEqual(inbox.bodies(), []);
});

test("a consumer is told with null when its queue goes", async () => {
  await fresh();
  const inbox = await consume(channel, queue);
  await channel.deleteQueue(queue);
  await until(() => inbox.cancelled, "the cancel");
});

test("an exclusive consumer keeps others out with 403", async () => {
  await fresh();
  await consume(channel, queue, { exclusive: true });
  await refused(channel.consume(queue, () => {}), 403, "in exclusive use");
});

test("consumer priority is obeyed", async () => {
  await fresh();
  const low = await consume(channel, queue, { noAck: true, priority: 1 });
  const high = await consume(channel, queue, { noAck: true, priority: 9 });
  send("1", "2");
  assert.deepEqual(await high.wait(2), ["1", "2"]);
  assert.deepEqual(low.bodies(), []);
});

test("a mandatory message that reaches nobody is returned", async () => {
  await fresh();
  const returned = new Promise((resolve) => channel.on("return", resolve));
  channel.publish("amq.direct", unique("nobody"), Buffer.from("m"), { mandatory: true });
  const message = await soon(returned, "basic.return");
  assert.deepEqual([message.fields.replyCode, message.fields.replyText], [312, "NO_ROUTE"]);
});

test("confirms come for every publish", async () => {
  const confirming = await openChannel(connection, "createConfirmChannel");
  const target = await declareQueue(confirming);
  for (let number = 0; number < 300; number++) confirming.sendToQueue(target, Buffer.from("m"));
  await soon(confirming.waitForConfirms(), "all confirms");
  assert.equal(await depth(confirming, target), 300);
});

test("reject-publish is a nack", async () => {
  const confirming = await openChannel(connection, "createConfirmChannel");
  const target = await declareQueue(confirming, { maxLength: 1, arguments: { "x-overflow": "reject-publish" } });
  confirming.sendToQueue(target, Buffer.from("fits"));
  await soon(confirming.waitForConfirms(), "the ack");
  confirming.sendToQueue(target, Buffer.from("too many"));
  await assert.rejects(soon(confirming.waitForConfirms(), "the nack"));
});

test("publishing to a missing exchange closes the channel with 404", async () => {
  await fresh();
  const missing = unique("missing");
  channel.publish(missing, "k", Buffer.from("m"));
  const error = await soon(channel.failure, "channel.close");
  assert.match(error.message, new RegExp(`NOT_FOUND - no exchange '${missing}' in vhost '/'`));
});

test("direct reply-to answers a request", async () => {
  await fresh();
  const replies = await consume(channel, "amq.rabbitmq.reply-to", { noAck: true });
  channel.sendToQueue(queue, Buffer.from("question"), { replyTo: "amq.rabbitmq.reply-to", correlationId: "7" });
  const request = await getOne(channel, queue);
  const server = await openChannel(await connect());
  server.sendToQueue(request.properties.replyTo, Buffer.from("answer"), { correlationId: request.properties.correlationId });
  assert.deepEqual(await replies.wait(1), ["answer"]);
  assert.equal(replies.messages[0].properties.correlationId, "7");
});

test("a priority queue gives the highest first", async () => {
  await fresh();
  const sorted = await declareQueue(channel, { maxPriority: 5 });
  for (const priority of [1, 5, 3]) channel.sendToQueue(sorted, Buffer.from(String(priority)), { priority });
  await until(async () => (await depth(channel, sorted)) === 3, "three messages");
  assert.deepEqual(await getBodies(channel, sorted, 3), ["5", "3", "1"]);
});

test("CC copies and BCC copies unseen", async () => {
  await fresh();
  const [cc, bcc] = [await declareQueue(channel), await declareQueue(channel)];
  channel.sendToQueue(queue, Buffer.from("m"), { CC: [cc], BCC: [bcc] });
  for (const target of [queue, cc, bcc]) {
    const { headers } = (await getOne(channel, target)).properties;
    assert.deepEqual(headers, { CC: [cc] });
  }
});

test("a headers exchange matches any", async () => {
  await fresh();
  const exchange = await declareExchange(channel, "headers");
  await channel.bindQueue(queue, exchange, "", { "x-match": "any", a: 1, b: "x" });
  channel.publish(exchange, "", Buffer.from("no"), { headers: { a: 2 } });
  channel.publish(exchange, "", Buffer.from("yes"), { headers: { b: "x" } });
  assert.equal((await getOne(channel, queue)).content.toString(), "yes");
});

test("a topic exchange matches words", async () => {
  await fresh();
  const exchange = await declareExchange(channel, "topic");
  await channel.bindQueue(queue, exchange, "*.nyse.#");
  for (const key of ["goog", "goog.nasdaq", "ibm.nyse", "ibm.nyse.usd"]) channel.publish(exchange, key, Buffer.from(key));
  assert.deepEqual(await getBodies(channel, queue, 2), ["ibm.nyse", "ibm.nyse.usd"]);
});
