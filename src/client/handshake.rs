//! The opening of a connection: header, start, tune, open.
//!
//! Spec: AMQP 0-9-1, clause 2.2.4 "The Connection Class".

use crate::{Address, Connection, Error, Options};
use fairlead_amqp_0_9_1::codec::protocol_header::PROTOCOL_HEADER;
use fairlead_amqp_0_9_1::codec::{Table, TableWriter, Value};
use fairlead_amqp_0_9_1::spec::{FRAME_MIN_SIZE, Method, connection};

/// Logs in over a fresh socket and leaves `connection` open.
pub async fn run(connection: &mut Connection, address: &Address, options: &Options) -> Result<(), Error> {
    connection.write(&PROTOCOL_HEADER).await?;
    await_start(connection).await?;
    let properties = client_properties(&options.name);
    let response = format!("\0{}\0{}", address.user, address.password);
    let start_ok = connection::StartOk {
        client_properties: properties.as_table(),
        mechanism: "PLAIN",
        response: response.as_bytes(),
        locale: "en_US",
    };
    connection.send(0, &start_ok).await?;
    let tuned = await_tune(connection, options.frame_max).await?;
    connection.frame_max = tuned.frame_max;
    connection.send(0, &tuned).await?;
    let open = connection::Open { virtual_host: &address.vhost };
    connection.call(0, &open, &[connection::OpenOk::ID]).await?;
    Ok(())
}

/// Connection.start must offer PLAIN. A broker that speaks another protocol answers with that one's header.
async fn await_start(connection: &mut Connection) -> Result<(), Error> {
    while connection.pending().len() < PROTOCOL_HEADER.len() {
        connection.read().await?;
    }
    if let Some(&header) = connection.pending().first_chunk::<8>()
        && header.starts_with(b"AMQP")
    {
        return Err(Error::ProtocolRefused(header));
    }
    let start = connection.reply(0, &[connection::Start::ID]).await?;
    let Method::ConnectionStart(start) = start else { return Err(unexpected(&start, "connection.start")) };
    let mechanisms = String::from_utf8_lossy(start.mechanisms);
    if !mechanisms.split(' ').any(|offered| offered == "PLAIN") {
        return Err(Error::NoPlain(mechanisms.into_owned()));
    }
    connection.server = product(&start.server_properties);
    Ok(())
}

fn product(properties: &Table<'_>) -> String {
    let texts = ["product", "version"].into_iter().filter_map(|name| match properties.get(name)? {
        Value::LongString(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join(" ")
}

/// Our answer to connection.tune: the broker's channels, the smaller frame, no heartbeats. Zero means no limit.
async fn await_tune(connection: &mut Connection, frame_max: u32) -> Result<connection::TuneOk, Error> {
    let tune = match connection.reply(0, &[connection::Tune::ID]).await {
        Ok(Method::ConnectionTune(tune)) => tune,
        Ok(other) => return Err(unexpected(&other, "connection.tune")),
        Err(Error::EndOfStream(_)) => {
            return Err(Error::EndOfStream("after the login: user or password may be wrong"));
        }
        Err(error) => return Err(error),
    };
    let offered = if tune.frame_max == 0 { u32::MAX } else { tune.frame_max };
    let frame_max = frame_max.max(FRAME_MIN_SIZE).min(offered);
    Ok(connection::TuneOk { channel_max: tune.channel_max, frame_max, heartbeat: 0 })
}

fn client_properties(name: &str) -> TableWriter {
    let mut properties = TableWriter::new();
    properties
        .put_str("product", "fairlead-client")
        .put_str("version", env!("CARGO_PKG_VERSION"))
        .put_str("connection_name", name)
        .put_table("capabilities", |capabilities| {
            for capability in [
                "publisher_confirms",
                "basic.nack",
                "consumer_cancel_notify",
                "connection.blocked",
                "authentication_failure_close",
            ] {
                capabilities.put_bool(capability, true);
            }
        });
    properties
}

fn unexpected(found: &Method<'_>, expected: &'static str) -> Error {
    Error::Unexpected { found: found.name().to_owned(), expected }
}
