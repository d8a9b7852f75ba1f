// Connections, channels, exchanges and queues as amqplib declares them.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import amqp from "amqplib";
import { connect, declareExchange, declareQueue, depth, getOne, openChannel, refused, soon, unique, until, url } from "./steps.js";

let connection;
before(async () => {
  connection = await connect();
});

test("the server's properties name its capabilities", () => {
  const { capabilities, product } = connection.connection.serverProperties;
  assert.ok(product);
  assert.equal(capabilities.publisher_confirms, true);
  assert.equal(capabilities["basic.nack"], true);
});

test("a wrong password is refused with 403", async () => {
  const wrong = url.replace(/:[^:@/]*@/, ":wrong@");
  await assert.rejects(amqp.connect(wrong), /ACCESS.REFUSED/);
});

test("an unknown vhost is refused with connection.close", async () => {
  const elsewhere = url.replace(/[^/]*$/, "nosuchvhost");
  await assert.rejects(amqp.connect(elsewhere), /got <ConnectionClose/);
});

test("trap 4: a frame-max of 4096 is let in, and large messages are cut to it", async () => {
  const channel = await openChannel(await connect("?frameMax=4096&heartbeat=0"));
  const queue = await declareQueue(channel);
  const body = Buffer.alloc(100_000, 7);
  channel.sendToQueue(queue, body);
  assert.deepEqual((await getOne(channel, queue)).content, body);
});

test("a heartbeat of one second keeps an idle connection", async () => {
  const idle = await connect("?heartbeat=1");
  let closed = false;
  idle.on("close", () => (closed = true));
  let beats = 0;
  idle.connection.heartbeater.on("beat", () => beats++);
  await until(() => beats >= 5, "five beats");
  assert.equal(closed, false);
  await openChannel(idle);
});

test("update-secret is answered", async () => {
  const own = await connect();
  await soon(own.updateSecret(Buffer.from("guest"), "rotation"), "update-secret-ok");
  await openChannel(own);
});

test("a connection has many channels", async () => {
  const channels = await Promise.all(Array.from({ length: 50 }, () => openChannel(connection)));
  assert.equal(new Set(channels.map((channel) => channel.ch)).size, 50);
  await Promise.all(channels.map((channel) => channel.close()));
});

test("a refusal closes its channel only", async () => {
  const [channel, other] = [await openChannel(connection), await openChannel(connection)];
  const missing = unique("missing");
  await refused(channel.checkQueue(missing), 404, `NOT_FOUND - no queue '${missing}' in vhost '/'`);
  assert.equal((await channel.failure).code, 404);
  await declareQueue(other);
});

test("queue.declare-ok counts messages and consumers", async () => {
  const channel = await openChannel(connection);
  const queue = await declareQueue(channel);
  channel.sendToQueue(queue, Buffer.from("m"));
  await until(async () => (await depth(channel, queue)) === 1, "the message");
  assert.deepEqual(await channel.checkQueue(queue), { queue, messageCount: 1, consumerCount: 0 });
});

test("server-named queues begin with amq.gen-", async () => {
  const channel = await openChannel(connection);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  assert.match(queue, /^amq\.gen-/);
});

test("amqplib's own option names are understood", async () => {
  const channel = await openChannel(connection);
  const options = { messageTtl: 60_000, expires: 60_000, maxLength: 5, maxPriority: 3, deadLetterExchange: "amq.fanout" };
  const queue = await declareQueue(channel, options);
  await channel.assertQueue(queue, { exclusive: true, ...options });
  await refused(channel.assertQueue(queue, { exclusive: true, ...options, maxLength: 6 }), 406, "inequivalent arg 'x-max-length'");
});

test("a queue redeclared with another flag is refused with 406", async () => {
  const channel = await openChannel(connection);
  const queue = await declareQueue(channel);
  await refused(channel.assertQueue(queue, { exclusive: true, autoDelete: true }), 406, "received 'true' but current is 'false'");
});

test("an exclusive queue is locked for others with 405", async () => {
  const channel = await openChannel(connection);
  const queue = await declareQueue(channel);
  const stranger = await openChannel(await connect());
  await refused(stranger.checkQueue(queue), 405, "RESOURCE_LOCKED");
});

test("purge and delete count messages", async () => {
  const channel = await openChannel(connection);
  const queue = await declareQueue(channel);
  for (const purge of [true, false]) {
    for (const body of ["1", "2"]) channel.sendToQueue(queue, Buffer.from(body));
    await until(async () => (await depth(channel, queue)) === 2, "two messages");
    const { messageCount } = purge ? await channel.purgeQueue(queue) : await channel.deleteQueue(queue);
    assert.equal(messageCount, 2);
  }
});

for (const type of ["direct", "topic", "fanout", "headers"]) {
  test(`a ${type} exchange is declared, checked and deleted`, async () => {
    const channel = await openChannel(connection);
    const exchange = await declareExchange(channel, type);
    await channel.checkExchange(exchange);
    await channel.deleteExchange(exchange);
    await refused(channel.checkExchange(exchange), 404, `no exchange '${exchange}'`);
  });
}

test("an exchange in use is not deleted with ifUnused", async () => {
  const channel = await openChannel(connection);
  const exchange = await declareExchange(channel, "direct");
  await channel.bindQueue(await declareQueue(channel), exchange, "k");
  await refused(channel.deleteExchange(exchange, { ifUnused: true }), 406, "in use");
});

test("an unknown exchange type closes the connection with 503", async () => {
  const own = await connect();
  const failure = new Promise((resolve) => own.on("error", resolve));
  const channel = await openChannel(own);
  channel.assertExchange(unique(), "x-nonsense").catch(() => {});
  const error = await soon(failure, "connection.close");
  assert.equal(error.code, 503);
  assert.match(error.message, /unknown exchange type 'x-nonsense'/);
});

test("exchanges bind to exchanges, and unbind", async () => {
  const channel = await openChannel(connection);
  const [source, target] = [await declareExchange(channel, "topic"), await declareExchange(channel, "fanout")];
  const queue = await declareQueue(channel);
  await channel.bindExchange(target, source, "a.#");
  await channel.bindQueue(queue, target, "");
  channel.publish(source, "a.b", Buffer.from("through"));
  assert.equal((await getOne(channel, queue)).content.toString(), "through");
  await channel.unbindExchange(target, source, "a.#");
  channel.publish(source, "a.b", Buffer.from("lost"));
  channel.publish(target, "", Buffer.from("direct"));
  assert.equal((await getOne(channel, queue)).content.toString(), "direct");
});

test("an alternate exchange takes what is unroutable", async () => {
  const channel = await openChannel(connection);
  const other = await declareExchange(channel, "fanout");
  const main = await declareExchange(channel, "direct", { alternateExchange: other });
  const queue = await declareQueue(channel);
  await channel.bindQueue(queue, other, "");
  channel.publish(main, "nobody", Buffer.from("m"));
  assert.equal((await getOne(channel, queue)).fields.exchange, main);
});
