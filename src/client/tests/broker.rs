//! The client against a real broker: the one that `AMQP_URL` names. Without it there is nothing to test against.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside test functions")]

use fairlead_amqp_0_9_1::codec::Payload;
use fairlead_amqp_0_9_1::spec::{BasicProperties, Method, basic};
use fairlead_client::{
    Address, ConfirmWindow, Connection, Consumer, ContentProgress, Error, Exchange, Options, PublishTemplate,
    Queue,
};

/// Runs `test` on an open channel 1, if there is a broker.
fn with_broker(test: impl AsyncFnOnce(&Address, &mut Connection)) {
    let Ok(url) = std::env::var("AMQP_URL") else {
        eprintln!("no AMQP_URL: nothing to test against");
        return;
    };
    let address: Address = url.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = Connection::open(&address, &Options::default()).await.unwrap();
        connection.open_channel(1).await.unwrap();
        test(&address, &mut connection).await;
    });
}

fn template(connection: &Connection, exchange: &str, routing_key: &str, size: usize) -> PublishTemplate {
    let publish = basic::Publish { exchange, routing_key, ..basic::Publish::default() };
    PublishTemplate::new(1, &publish, &BasicProperties::default(), size, connection.frame_max())
}

/// A queue of this test alone, which goes with its connection.
async fn queue(connection: &mut Connection) -> String {
    let queue = Queue { exclusive: true, ..Queue::default() };
    connection.declare_queue(1, &queue).await.unwrap().name
}

#[test]
fn what_is_published_is_got() {
    with_broker(async |_, connection| {
        let queue = queue(connection).await;
        let body: Vec<u8> = (0..300_000).map(|index| index as u8).collect();
        let mut batch = Vec::new();
        template(connection, "", &queue, body.len()).encode(&body, &mut batch);
        connection.write(&batch).await.unwrap();
        let message = connection.get(1, &queue, true).await.unwrap().unwrap();
        assert_eq!(message.body, body);
        assert_eq!(message.routing_key, queue);
        assert_eq!(connection.get(1, &queue, true).await.unwrap(), None);
    });
}

#[test]
fn a_batch_is_confirmed_and_consumed_in_order() {
    with_broker(async |_, connection| {
        let queue = queue(connection).await;
        let exchange = format!("fairlead.client.{queue}");
        let declared = Exchange { name: &exchange, kind: "fanout", durable: false, auto_delete: true };
        connection.declare_exchange(1, &declared).await.unwrap();
        connection.bind(1, &queue, &exchange, "").await.unwrap();
        connection.confirm_select(1).await.unwrap();

        let template = template(connection, &exchange, "key", 4);
        let mut batch = Vec::new();
        for number in 0..1000u32 {
            template.encode(&number.to_be_bytes(), &mut batch);
        }
        let mut window = ConfirmWindow::default();
        window.publish(1000);
        connection.write(&batch).await.unwrap();
        while window.waiting() > 0 {
            while let Some(frame) = connection.next_frame().unwrap() {
                let Payload::Method(payload) = frame.payload else { panic!("only confirms are expected") };
                let Method::BasicAck(ack) = Method::decode(payload).unwrap() else { panic!("not an ack") };
                window.settle(ack.delivery_tag, ack.multiple).unwrap();
            }
            if window.waiting() > 0 {
                connection.read().await.unwrap();
            }
        }
        assert_eq!(connection.inspect_queue(1, &queue).await.unwrap().messages, 1000);

        connection.qos(1, 100).await.unwrap();
        let consumer = Consumer { queue: &queue, tag: "tag", no_ack: false, exclusive: true };
        connection.consume(1, &consumer).await.unwrap();
        for number in 0..1000u32 {
            let message = connection.receive().await.unwrap();
            assert_eq!(message.body, number.to_be_bytes());
            assert_eq!(message.delivery_tag, u64::from(number) + 1);
            if number % 50 == 49 {
                connection.ack(1, message.delivery_tag, true).await.unwrap();
            }
        }
        connection.cancel(1, "tag").await.unwrap();
        assert_eq!(connection.inspect_queue(1, &queue).await.unwrap().messages, 0);
    });
}

#[test]
fn deliveries_before_a_reply_are_not_lost() {
    with_broker(async |_, connection| {
        let queue = queue(connection).await;
        let template = template(connection, "", &queue, 100);
        let mut batch = Vec::new();
        for _ in 0..500 {
            template.encode(&[0; 100], &mut batch);
        }
        connection.write(&batch).await.unwrap();
        let consumer = Consumer { queue: &queue, tag: "tag", no_ack: true, exclusive: false };
        connection.consume(1, &consumer).await.unwrap();
        let mut progress = ContentProgress::default();
        let mut received = 0;
        // The replies come among 500 deliveries.
        connection.inspect_queue(1, &queue).await.unwrap();
        while received < 500 {
            while let Some(frame) = connection.next_frame().unwrap() {
                received += u32::from(progress.take(&frame.payload).unwrap());
            }
            if received < 500 {
                connection.read().await.unwrap();
            }
        }
        assert_eq!(connection.purge(1, &queue).await.unwrap(), 0);
    });
}

#[test]
fn faults_are_told_with_the_brokers_words() {
    with_broker(async |address, connection| {
        let missing = connection.inspect_queue(1, "fairlead.client.no.such.queue").await.unwrap_err();
        assert!(missing.is_closed_with(404), "{missing}");
        assert!(missing.to_string().contains("no.such.queue"), "{missing}");

        let nobody = Address { password: "wrong".into(), ..address.clone() };
        let refused = Connection::open(&nobody, &Options::default()).await.unwrap_err();
        assert!(refused.is_closed_with(403), "{refused}");

        let nowhere = Address { vhost: "no such vhost".into(), ..address.clone() };
        let refused = Connection::open(&nowhere, &Options::default()).await.unwrap_err();
        assert!(refused.is_closed_with(530), "{refused}");

        let closed = Address { host: "127.0.0.1".into(), port: 1, ..address.clone() };
        assert!(matches!(Connection::open(&closed, &Options::default()).await, Err(Error::Connect { .. })));
    });
}
