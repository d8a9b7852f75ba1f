// Publishes five stock lines through an exchange and consumes them: the first program of a new user.
//
//     node stock_lines.js direct|topic|fanout|headers
//
// The broker is at AMQP_URL, or on this machine.

import amqp from "amqplib";

const LINES = ["1 GOOG 616.47", "2 RHT 42.46", "3 VMW 78.25", "4 CSCO 23.29", "5 IBM 141.43"];
const ROUTES = {
  direct: { exchange: "amq.direct", key: "stocks", bindingKey: "stocks" },
  topic: { exchange: "amq.topic", key: "stocks.nyse", bindingKey: "stocks.#" },
  fanout: { exchange: "amq.fanout", key: "", bindingKey: "" },
  headers: {
    exchange: "amq.headers",
    key: "",
    bindingKey: "",
    bindingArguments: { "x-match": "all", kind: "stock" },
    headers: { kind: "stock" },
  },
};

if (!Object.hasOwn(ROUTES, process.argv[2] ?? "")) {
  console.error("usage: node stock_lines.js direct|topic|fanout|headers");
  process.exit(2);
}
const { exchange, key, bindingKey, bindingArguments, headers } = ROUTES[process.argv[2]];
const connection = await amqp.connect(process.env.AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672/%2f");
const channel = await connection.createChannel();
const { queue } = await channel.assertQueue("", { exclusive: true });
await channel.bindQueue(queue, exchange, bindingKey, bindingArguments);
for (const line of LINES) channel.publish(exchange, key, Buffer.from(line), { headers });

let received = 0;
await channel.consume(queue, (message) => {
  console.log(message.content.toString());
  channel.ack(message);
  received += 1;
  if (received === LINES.length) connection.close();
});
