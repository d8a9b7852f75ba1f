//! Publishes five stock lines through an exchange and consumes them: the first program of a new user.
//!
//!     cargo run -p fairlead-tests --example stock_lines direct|topic|fanout|headers
//!
//! The broker is at AMQP_URL, or on this machine.

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};

const LINES: [&str; 5] = ["1 GOOG 616.47", "2 RHT 42.46", "3 VMW 78.25", "4 CSCO 23.29", "5 IBM 141.43"];

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".into());
    let kind = std::env::args().nth(1).unwrap_or_default();
    let stock = table("kind", "stock");
    let (exchange, key, binding_key, wanted, headers) = match kind.as_str() {
        "topic" => ("amq.topic", "stocks.nyse", "stocks.#", FieldTable::default(), FieldTable::default()),
        "fanout" => ("amq.fanout", "", "", FieldTable::default(), FieldTable::default()),
        "headers" => ("amq.headers", "", "", stock.clone(), stock),
        "direct" => ("amq.direct", "stocks", "stocks", FieldTable::default(), FieldTable::default()),
        _ => {
            eprintln!("usage: cargo run -p fairlead-tests --example stock_lines direct|topic|fanout|headers");
            std::process::exit(2);
        }
    };

    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
    let bind = QueueBindOptions::default();
    channel.queue_bind(queue.name().clone(), exchange.into(), binding_key.into(), bind, wanted).await?;
    for line in LINES {
        let properties = BasicProperties::default().with_headers(headers.clone());
        let options = BasicPublishOptions::default();
        channel.basic_publish(exchange.into(), key.into(), options, line.as_bytes(), properties).await?;
    }
    let options = BasicConsumeOptions::default();
    let consumer =
        channel.basic_consume(queue.name().clone(), "".into(), options, FieldTable::default()).await?;
    let mut lines = consumer.take(LINES.len());
    while let Some(delivery) = lines.next().await {
        let delivery = delivery?;
        println!("{}", String::from_utf8_lossy(&delivery.data));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    connection.close(200, "done".into()).await
}

fn table(name: &str, value: &str) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(name.into(), AMQPValue::LongString(value.into()));
    table
}
