//! Kernel values in the JSON shape that users of RabbitMQ's management know.

use fairlead_engine::report::{
    BindingReport, ChannelReport, ConnectionReport, ConsumerReport, ExchangeReport, QueueReport,
};
use fairlead_kernel::Value;
use fairlead_kernel::settings::{Argument, Destination, ExchangeKind, QueueKind};
use serde_json::{Map, Value as Json, json};

/// A value; what JSON has no type for becomes text.
pub(crate) fn value(value: &Value) -> Json {
    match value {
        Value::Void => Json::Null,
        Value::Boolean(v) => json!(v),
        Value::Float32(v) => json!(v),
        Value::Float64(v) => json!(v),
        Value::Timestamp(v) | Value::UInt64(v) => json!(v),
        Value::Decimal { scale, mantissa } => json!(f64::from(*mantissa) / 10f64.powi(i32::from(*scale))),
        Value::Text(v) => json!(v),
        Value::Bytes(v) => json!(String::from_utf8_lossy(v)),
        Value::List(items) => items.iter().map(self::value).collect(),
        Value::Map(entries) => map(entries),
        Value::Int8(_)
        | Value::UInt8(_)
        | Value::Int16(_)
        | Value::UInt16(_)
        | Value::Int32(_)
        | Value::UInt32(_)
        | Value::Int64(_) => json!(value.as_integer()),
    }
}

/// Names with values as an object.
pub(crate) fn map(entries: &[(String, Value)]) -> Json {
    Json::Object(entries.iter().map(|(name, v)| (name.clone(), value(v))).collect())
}

fn arguments(arguments: &[Argument]) -> Json {
    Json::Object(arguments.iter().map(|a| (a.name.clone(), value(&a.value))).collect::<Map<_, _>>())
}

/// The word for a kind of exchange.
pub(crate) fn exchange_type(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Direct => "direct",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::ConsistentHash => "x-consistent-hash",
        ExchangeKind::Random => "x-random",
    }
}

/// The word for a kind of queue.
pub(crate) fn queue_type(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
    }
}

/// A queue.
pub(crate) fn queue(queue: &QueueReport) -> Json {
    let settings = &queue.settings;
    json!({
        "name": &*queue.name,
        "vhost": &*queue.vhost,
        "type": queue_type(settings.kind),
        "durable": settings.durable,
        "auto_delete": settings.auto_delete,
        "exclusive": settings.exclusive.is_some(),
        "owner_pid_details": queue.owner.as_ref().map(|name| json!({ "name": name })),
        "arguments": arguments(&settings.arguments),
        "policy": queue.policy.as_deref(),
        "state": "running",
        "messages": queue.ready + queue.unacknowledged,
        "messages_ready": queue.ready,
        "messages_unacknowledged": queue.unacknowledged,
        "message_bytes": queue.bytes,
        "memory": queue.memory,
        "consumers": queue.consumers,
        "message_stats": {
            "publish": queue.published,
            "deliver_get": queue.delivered,
            "ack": queue.acknowledged,
            "redeliver": queue.redelivered,
            "refused": queue.refused,
            "expired": queue.expired,
            "displaced": queue.displaced,
            "exhausted": queue.exhausted,
            "dead_lettered": queue.dead_lettered,
        },
    })
}

/// An exchange.
pub(crate) fn exchange(exchange: &ExchangeReport) -> Json {
    let settings = &exchange.settings;
    json!({
        "name": &*exchange.name,
        "vhost": &*exchange.vhost,
        "type": exchange_type(settings.kind),
        "durable": settings.durable,
        "auto_delete": settings.auto_delete,
        "internal": settings.internal,
        "arguments": arguments(&settings.arguments),
        "policy": exchange.policy.as_deref(),
    })
}

/// A binding.
pub(crate) fn binding(report: &BindingReport) -> Json {
    let binding = &report.binding;
    let (destination, kind) = match &binding.destination {
        Destination::Queue(name) => (name, "queue"),
        Destination::Exchange(name) => (name, "exchange"),
    };
    json!({
        "source": binding.source,
        "vhost": &*report.vhost,
        "destination": destination,
        "destination_type": kind,
        "routing_key": binding.key,
        "arguments": map(&binding.arguments),
        "properties_key": properties_key(&binding.key, &binding.arguments),
    })
}

/// What tells a binding from others between the same ends: its key, and a hash of its arguments if it has any. As
/// with RabbitMQ, but for the hash, which there is one of Erlang's own format.
fn properties_key(key: &str, given: &[(String, Value)]) -> String {
    match (key, given) {
        ("", []) => "~".to_owned(),
        (key, []) => key.to_owned(),
        (key, given) => {
            // An object's members are in order of their names, so the same arguments give the same text.
            format!("{key}~{:016x}", fnv_1a(map(given).to_string().as_bytes()))
        }
    }
}

/// The hash FNV-1a, 64 bits.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A virtual host, with the sums over its queues.
pub(crate) fn vhost(name: &str, queues: &[QueueReport]) -> Json {
    let own = || queues.iter().filter(|queue| *queue.vhost == *name);
    let (ready, unacknowledged): (u64, u64) =
        (own().map(|queue| queue.ready).sum(), own().map(|queue| queue.unacknowledged).sum());
    json!({
        "name": name,
        "description": "",
        "tags": [],
        "tracing": false,
        "messages": ready + unacknowledged,
        "messages_ready": ready,
        "messages_unacknowledged": unacknowledged,
    })
}

/// A connection.
pub(crate) fn connection(connection: &ConnectionReport) -> Json {
    json!({
        "name": connection.name,
        "vhost": connection.vhost,
        "user": connection.user,
        "protocol": connection.protocol,
        "state": connection.state,
        "peer_host": connection.peer.ip().to_string(),
        "peer_port": connection.peer.port(),
        "host": connection.local.ip().to_string(),
        "port": connection.local.port(),
        "connected_at": connection.connected_at,
        "frame_max": connection.frame_max,
        "timeout": connection.heartbeat,
        "channels": connection.channels,
        "recv_oct": connection.bytes_in,
        "send_oct": connection.bytes_out,
        "user_provided_name": user_provided_name(&connection.client_properties),
        "client_properties": map(&connection.client_properties),
    })
}

/// The name that the client gave its connection, or null.
fn user_provided_name(properties: &[(String, Value)]) -> Json {
    let named = properties.iter().find(|(name, _)| name == "connection_name");
    named.map_or(Json::Null, |(_, name)| value(name))
}

/// A session.
pub(crate) fn channel(channel: &ChannelReport) -> Json {
    json!({
        "name": format!("{} ({})", channel.connection, channel.number),
        "number": channel.number,
        "connection_details": { "name": channel.connection },
        "vhost": channel.vhost,
        "user": channel.user,
        "state": "running",
        "consumer_count": channel.consumers,
        "messages_unacknowledged": channel.unacknowledged,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.global_prefetch,
        "confirm": channel.confirm,
        "transactional": channel.transactional,
    })
}

/// A consumer.
pub(crate) fn consumer(consumer: &ConsumerReport) -> Json {
    let settings = &consumer.settings;
    json!({
        "consumer_tag": settings.tag,
        "queue": { "name": &*consumer.queue, "vhost": &*consumer.vhost },
        "channel_details": {
            "name": format!("{} ({})", consumer.connection, consumer.channel),
            "number": consumer.channel,
            "connection_name": consumer.connection,
        },
        "ack_required": settings.acknowledge,
        "exclusive": settings.exclusive,
        "prefetch_count": settings.window.unwrap_or(0),
        "priority": settings.priority,
        "active": consumer.active,
        "arguments": map(&settings.arguments),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_keys_tell_bindings_apart() {
        let arguments =
            |value| [("x-match".to_owned(), Value::Text("all".to_owned())), ("n".to_owned(), value)];
        assert_eq!((properties_key("", &[]).as_str(), properties_key("k", &[]).as_str()), ("~", "k"));
        let one = properties_key("k", &arguments(Value::Int64(1)));
        let mut turned = arguments(Value::Int64(1));
        turned.reverse();
        assert_eq!(properties_key("k", &turned), one, "whatever their order");
        assert!(one.starts_with("k~"), "{one}");
        assert_ne!(properties_key("k", &arguments(Value::Int64(2))), one);
    }
}
