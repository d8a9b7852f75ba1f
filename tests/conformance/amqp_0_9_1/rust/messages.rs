//! Messages, consumers, acknowledgements, confirms and transactions as lapin has them.

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, BasicRecoverOptions, BasicRejectOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, ExchangeKind};

use crate::steps::{
    Client, assert_refused, bodies, consume, declare_exchange, declare_queue, delivery, depth, get_one,
    publish, send, short, soon, table, text, unique, wait_depth,
};

const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

#[tokio::test]
async fn properties_come_back() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    let headers = table(&[
        ("bool", AMQPValue::Boolean(true)),
        ("int8", AMQPValue::ShortShortInt(-8)),
        ("uint8", AMQPValue::ShortShortUInt(200)),
        ("int16", AMQPValue::ShortInt(-1600)),
        ("uint16", AMQPValue::ShortUInt(60_000)),
        ("int32", AMQPValue::LongInt(-70_000)),
        ("uint32", AMQPValue::LongUInt(4_000_000_000)),
        ("int64", AMQPValue::LongLongInt(-(1 << 50))),
        ("float", AMQPValue::Float(0.5)),
        ("double", AMQPValue::Double(616.47)),
        ("timestamp", AMQPValue::Timestamp(1_700_000_000)),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("nothing", AMQPValue::Void),
        ("array", AMQPValue::FieldArray(FieldArray::from(vec![text("one"), AMQPValue::LongInt(2)]))),
        ("table", AMQPValue::FieldTable(table(&[("deep", text("value"))]))),
    ]);
    let sent = BasicProperties::default()
        .with_content_type(short("text/plain"))
        .with_content_encoding(short("utf-8"))
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(4)
        .with_correlation_id(short("c"))
        .with_reply_to(short("r"))
        .with_expiration(short("60000"))
        .with_message_id(short("m"))
        .with_timestamp(1_700_000_000)
        .with_type(short("t"))
        .with_user_id(short("guest"))
        .with_app_id(short("a"));
    publish(&channel, "", queue.as_str(), b"m", sent.clone()).await;
    assert_eq!(get_one(&channel, &queue, true).await.properties, sent);
}

#[tokio::test]
async fn large_and_empty_bodies() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    for size in [0, 1_000_000] {
        let body: Vec<u8> = (0..size).map(|number: u32| (number % 251) as u8).collect();
        publish(&channel, "", queue.as_str(), &body, BasicProperties::default()).await;
        assert_eq!(get_one(&channel, &queue, true).await.data, body);
    }
}

#[tokio::test]
async fn consumer_gets_messages_in_order() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    let mut consumer = consume(&channel, &queue, true, FieldTable::default()).await;
    for number in 0..500 {
        send(&channel, &queue, &[&number.to_string()]).await;
    }
    for number in 0..500 {
        assert_eq!(delivery(&mut consumer).await.data, number.to_string().into_bytes());
    }
}

#[tokio::test]
async fn prefetch_holds_back_until_an_ack() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    send(&channel, &queue, &["1", "2", "3"]).await;
    channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
    let mut consumer = consume(&channel, &queue, false, FieldTable::default()).await;
    let first = delivery(&mut consumer).await;
    delivery(&mut consumer).await;
    wait_depth(&channel, &queue, 1).await;
    first.ack(BasicAckOptions::default()).await.unwrap();
    assert_eq!(delivery(&mut consumer).await.data, b"3");
}

#[tokio::test]
async fn nack_brings_the_message_back_to_its_place() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    send(&channel, &queue, &["1", "2"]).await;
    get_one(&channel, &queue, false).await.nack(REQUEUE).await.unwrap();
    let again = get_one(&channel, &queue, true).await;
    assert_eq!((again.data.as_slice(), again.redelivered), (b"1".as_slice(), true));
    assert_eq!(bodies(&channel, &queue, 1).await, ["2"]);
}

#[tokio::test]
async fn recover_requeues() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    send(&channel, &queue, &["m"]).await;
    get_one(&channel, &queue, false).await;
    channel.basic_recover(BasicRecoverOptions { requeue: true }).await.unwrap();
    assert!(get_one(&channel, &queue, true).await.redelivered);
}

#[tokio::test]
async fn consumer_ends_when_its_queue_goes() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    let mut consumer = consume(&channel, &queue, true, FieldTable::default()).await;
    client.channel().await.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
    assert!(soon("basic.cancel", consumer.next()).await.is_none());
}

#[tokio::test]
async fn cancel_ends_a_consumer() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    let mut consumer = consume(&channel, &queue, true, FieldTable::default()).await;
    channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.unwrap();
    send(&channel, &queue, &["stays"]).await;
    wait_depth(&channel, &queue, 1).await;
    assert!(soon("the stream's end", consumer.next()).await.is_none());
}

#[tokio::test]
async fn exclusive_consumer_keeps_others_out() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let first = channel.basic_consume(queue.clone(), short(""), options, FieldTable::default()).await;
    let second = client.channel().await;
    let options = BasicConsumeOptions::default();
    let refused = second.basic_consume(queue, short(""), options, FieldTable::default()).await;
    assert_refused(refused, 403, "in exclusive use");
    assert!(first.is_ok());
}

#[tokio::test]
async fn confirms_returns_and_nacks() {
    let client = Client::start().await;
    let channel = client.confirming().await;
    let arguments = table(&[("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))]);
    let queue = declare_queue(&channel, arguments).await;
    let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
    for (key, is_ack, is_returned) in
        [(queue.clone(), true, false), (queue.clone(), false, false), (unique("nobody"), true, true)]
    {
        let published =
            channel.basic_publish(short(""), key, mandatory, b"m", BasicProperties::default()).await;
        let confirmation = soon("a confirm", published.unwrap()).await.unwrap();
        assert_eq!(confirmation.is_ack(), is_ack);
        let returned = confirmation.take_message();
        assert_eq!(returned.map(|message| message.reply_code), is_returned.then_some(312));
    }
}

#[tokio::test]
async fn every_publish_of_a_burst_is_confirmed() {
    let client = Client::start().await;
    let channel = client.confirming().await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    for _ in 0..1000 {
        send(&channel, &queue, &["m"]).await;
    }
    assert!(soon("all confirms", channel.wait_for_confirms()).await.unwrap().is_empty());
    assert_eq!(depth(&channel, &queue).await, 1000);
}

#[tokio::test]
async fn transaction() {
    let client = Client::start().await;
    let (channel, other) = (client.channel().await, client.channel().await);
    let queue = declare_queue(&channel, FieldTable::default()).await;
    channel.tx_select().await.unwrap();
    send(&channel, &queue, &["rolled back"]).await;
    channel.tx_rollback().await.unwrap();
    send(&channel, &queue, &["committed"]).await;
    assert_eq!(depth(&channel, &queue).await, 0);
    channel.tx_commit().await.unwrap();
    assert_eq!(bodies(&other, &queue, 1).await, ["committed"]);
}

#[tokio::test]
async fn dead_letter_has_an_x_death() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let target = declare_queue(&channel, FieldTable::default()).await;
    let arguments =
        table(&[("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(target.as_str()))]);
    let source = declare_queue(&channel, arguments).await;
    send(&channel, &source, &["m"]).await;
    get_one(&channel, &source, false).await.reject(BasicRejectOptions { requeue: false }).await.unwrap();
    let dead = get_one(&channel, &target, true).await;
    let headers = dead.properties.headers().clone().unwrap();
    let deaths = headers.inner()["x-death"].as_array().unwrap().as_slice().to_vec();
    let [AMQPValue::FieldTable(death)] = deaths.as_slice() else { panic!("{deaths:?}") };
    let death = death.inner();
    assert_eq!(death["count"], AMQPValue::LongLongInt(1));
    assert_eq!(death["reason"], text("rejected"));
    assert_eq!(death["queue"], text(source.as_str()));
    assert!(matches!(death["time"], AMQPValue::Timestamp(_)));
}

#[tokio::test]
async fn priorities_and_headers() {
    let client = Client::start().await;
    let channel = client.channel().await;
    let queue = declare_queue(&channel, table(&[("x-max-priority", AMQPValue::ShortShortInt(5))])).await;
    let exchange = declare_exchange(&channel, ExchangeKind::Headers, FieldTable::default()).await;
    let (bind, wanted) = (QueueBindOptions::default(), table(&[("x-match", text("any")), ("a", text("b"))]));
    channel.queue_bind(queue.clone(), exchange.clone(), short(""), bind, wanted).await.unwrap();
    for (body, priority, header) in [("1", 1, "b"), ("5", 5, "b"), ("0", 9, "c"), ("3", 3, "b")] {
        let headers = table(&[("a", text(header))]);
        let properties = BasicProperties::default().with_priority(priority).with_headers(headers);
        publish(&channel, exchange.as_str(), "", body.as_bytes(), properties).await;
    }
    wait_depth(&channel, &queue, 3).await;
    assert_eq!(bodies(&channel, &queue, 3).await, ["5", "3", "1"]);
    channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await.unwrap();
}

#[tokio::test]
async fn direct_reply_to() {
    let client = Client::start().await;
    let (asking, answering) = (client.channel().await, client.channel().await);
    let requests = declare_queue(&answering, FieldTable::default()).await;
    let address = short("amq.rabbitmq.reply-to");
    let mut replies = consume(&asking, &address, true, FieldTable::default()).await;
    let properties = BasicProperties::default().with_reply_to(address);
    publish(&asking, "", requests.as_str(), b"question", properties).await;
    let request = get_one(&answering, &requests, true).await;
    let reply_to = request.properties.reply_to().clone().unwrap();
    publish(&answering, "", reply_to.as_str(), b"answer", BasicProperties::default()).await;
    assert_eq!(delivery(&mut replies).await.data, b"answer");
}
