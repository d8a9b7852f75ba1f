//! Connections, channels, exchanges and queues as lapin declares them.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};

use crate::steps::{
    Client, assert_refused, bodies, connect, declare_exchange, declare_queue, depth, publish, send, short,
    soon, table, text, unique, wait_depth,
};

#[tokio::test]
async fn tuning_is_as_proposed() {
    let client = Client::start().await;
    let configuration = client.connection.configuration();
    assert_eq!((configuration.channel_max(), configuration.frame_max()), (2047, 131_072));
}

#[tokio::test]
async fn wrong_password_is_refused() {
    let client = Client::start().await;
    let wrong = client.url.replace("guest:guest", "guest:wrong");
    let refused = soon("a refusal", Connection::connect(&wrong, ConnectionProperties::default())).await;
    assert_refused(refused, 403, "Login was refused using authentication mechanism PLAIN");
}

#[tokio::test]
async fn unknown_vhost_is_refused() {
    let client = Client::start().await;
    let elsewhere = client.url.replace("%2f", "nowhere");
    let refused = soon("a refusal", Connection::connect(&elsewhere, ConnectionProperties::default())).await;
    assert_refused(refused, 530, "NOT_ALLOWED - vhost nowhere not found");
}

#[tokio::test]
async fn update_secret_is_answered() {
    let client = Client::start().await;
    soon("update-secret-ok", client.connection.update_secret("guest".into(), short("rotation")))
        .await
        .unwrap();
    client.channel().await;
}

#[tokio::test]
async fn refusal_closes_its_channel_only() {
    let client = Client::start().await;
    let (refused, other) = (client.channel().await, client.channel().await);
    let missing = unique("missing");
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let result = refused.queue_declare(missing.clone(), options, FieldTable::default()).await;
    assert_refused(result, 404, &format!("NOT_FOUND - no queue '{missing}' in vhost '/'"));
    declare_queue(&other, FieldTable::default()).await;
}

#[tokio::test]
async fn server_named_queue() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare(short(""), options, FieldTable::default()).await.unwrap();
    assert!(queue.name().as_str().starts_with("amq.gen-"), "{}", queue.name());
    assert_eq!((queue.message_count(), queue.consumer_count()), (0, 0));
}

#[tokio::test]
async fn queue_arguments_are_compared_by_value() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = declare_queue(&channel, table(&[("x-max-length", AMQPValue::LongInt(5))])).await;
    for value in [AMQPValue::ShortInt(5), AMQPValue::LongLongInt(5), AMQPValue::ShortShortUInt(5)] {
        let arguments = table(&[("x-max-length", value)]);
        channel.queue_declare(queue.clone(), options, arguments).await.unwrap();
    }
    let arguments = table(&[("x-max-length", AMQPValue::LongInt(6))]);
    let result = channel.queue_declare(queue, options, arguments).await;
    assert_refused(result, 406, "received '6' but current is '5'");
}

#[tokio::test]
async fn exclusive_queue_is_locked_for_others() {
    let client = Client::start().await;
    let queue = declare_queue(&client.channel().await, FieldTable::default()).await;
    let stranger = connect(&client.url).await;
    let channel = stranger.create_channel().await.unwrap();
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    assert_refused(
        channel.queue_declare(queue, options, FieldTable::default()).await,
        405,
        "RESOURCE_LOCKED",
    );
}

#[tokio::test]
async fn purge_and_delete_count() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    send(&channel, &queue, &["1", "2"]).await;
    wait_depth(&channel, &queue, 2).await;
    assert_eq!(channel.queue_purge(queue.clone(), QueuePurgeOptions::default()).await.unwrap(), 2);
    send(&channel, &queue, &["3"]).await;
    wait_depth(&channel, &queue, 1).await;
    assert_eq!(channel.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap(), 1);
}

#[tokio::test]
async fn exchange_in_use_and_unknown_type() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let exchange = declare_exchange(&channel, ExchangeKind::Direct, FieldTable::default()).await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    let bind = QueueBindOptions::default();
    channel.queue_bind(queue, exchange.clone(), short("k"), bind, FieldTable::default()).await.unwrap();
    let options = ExchangeDeleteOptions { if_unused: true, ..Default::default() };
    assert_refused(client.channel().await.exchange_delete(exchange, options).await, 406, "in use");

    let unknown = ExchangeKind::Custom("x-nonsense".into());
    let options = ExchangeDeclareOptions::default();
    let channel = client.channel().await;
    let result = channel.exchange_declare(unique("x"), unknown, options, FieldTable::default());
    assert_refused(soon("a refusal", result).await, 503, "unknown exchange type 'x-nonsense'");
}

#[tokio::test]
async fn exchange_to_exchange() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let source = declare_exchange(&channel, ExchangeKind::Topic, FieldTable::default()).await;
    let target = declare_exchange(&channel, ExchangeKind::Fanout, FieldTable::default()).await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.clone(), target.clone(), short(""), bind, none.clone()).await.unwrap();
    // The second binding keeps the auto-delete source alive when the first one goes.
    for key in ["a.#", "z"] {
        let (destination, options) = (target.clone(), ExchangeBindOptions::default());
        channel.exchange_bind(destination, source.clone(), short(key), options, none.clone()).await.unwrap();
    }
    publish(&channel, source.as_str(), "a.b", b"1", BasicProperties::default()).await;
    let options = ExchangeUnbindOptions::default();
    channel.exchange_unbind(target.clone(), source.clone(), short("a.#"), options, none).await.unwrap();
    publish(&channel, source.as_str(), "a.b", b"2", BasicProperties::default()).await;
    publish(&channel, target.as_str(), "", b"3", BasicProperties::default()).await;
    assert_eq!(bodies(&channel, &queue, 2).await, ["1", "3"]);
    assert_eq!(depth(&channel, &queue).await, 0);
}

#[tokio::test]
async fn alternate_exchange() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let other = declare_exchange(&channel, ExchangeKind::Fanout, FieldTable::default()).await;
    let arguments = table(&[("alternate-exchange", text(other.as_str()))]);
    let main = declare_exchange(&channel, ExchangeKind::Direct, arguments).await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.clone(), other, short(""), bind, none).await.unwrap();
    publish(&channel, main.as_str(), "nobody", b"m", BasicProperties::default()).await;
    assert_eq!(bodies(&channel, &queue, 1).await, ["m"]);
    channel.exchange_delete(main, ExchangeDeleteOptions::default()).await.unwrap();
}
