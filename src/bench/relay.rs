//! The limit: a relay that reads no more than frame heads, and copies a publisher's bytes to its consumers.
//!
//! It answers the handshake and the methods that the generator calls, so that the generator cannot tell it from a
//! broker. Once a connection publishes, each read is written to the consumers of the queue that the first publish
//! names (to all consumers, if it names an exchange) just as it came. Nothing is queued, numbered, counted or
//! settled: what a broker does beyond this is its own.

use crate::error::Error;
use fairlead_amqp_0_9_1::codec::frame::{self, HEAD_SIZE};
use fairlead_amqp_0_9_1::codec::protocol_header::PROTOCOL_HEADER;
use fairlead_amqp_0_9_1::codec::{EncodeMethod, FrameError, Payload, TableWriter};
use fairlead_amqp_0_9_1::spec::{Method, basic, channel, connection, exchange, queue};
use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};

/// As much as one read takes, in bytes: the size that brokers were found to gain most from.
const BUFFER: usize = 256 * 1024;

/// The largest frame, in bytes.
const FRAME_MAX: u32 = 131_072;

/// Who consumes: a queue's name and the connection.
type Consumers = Rc<RefCell<Vec<(String, Rc<TcpStream>)>>>;

/// Why the relay ended a connection.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Decode(#[from] fairlead_amqp_0_9_1::codec::DecodeError),
    #[error("the relay does not answer {0}")]
    Unanswered(&'static str),
}

/// Runs the relay on a free port of the loopback address until the process is ended.
pub async fn run() -> Result<(), Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::system("listen"))?;
    let place = listener.local_addr().map_err(Error::system("listen"))?;
    println!("listening on port {}", place.port());
    println!("relay ready");
    let consumers = Consumers::default();
    loop {
        let (stream, _) = listener.accept().await.map_err(Error::system("accept"))?;
        let consumers = Rc::clone(&consumers);
        tokio::task::spawn_local(async move {
            let stream = Rc::new(stream);
            if let Err(fault) = serve(&stream, &consumers).await {
                eprintln!("connection ended: {fault}");
            }
            consumers.borrow_mut().retain(|(_, consumer)| !Rc::ptr_eq(consumer, &stream));
        });
    }
}

/// What becomes of a connection after a method.
enum Next {
    /// Go on.
    Continue,
    /// It publishes to these: copy from this frame on.
    Copy(Vec<Rc<TcpStream>>),
    /// It said goodbye.
    End,
}

async fn serve(stream: &Rc<TcpStream>, consumers: &Consumers) -> Result<(), Fault> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    while filled < PROTOCOL_HEADER.len() {
        filled += read(stream, &mut buffer[filled..]).await?;
    }
    let mut start = PROTOCOL_HEADER.len();
    let mut properties = TableWriter::new();
    properties.put_str("product", "relay");
    let first = connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: properties.as_table(),
        mechanisms: b"PLAIN",
        locales: b"en_US",
    };
    send(stream, 0, &first).await?;
    loop {
        while let Some((frame, used)) = frame::decode(&buffer[start..filled], FRAME_MAX)? {
            if let Payload::Method(payload) = frame.payload {
                match answer(stream, consumers, frame.channel, &Method::decode(payload)?).await? {
                    Next::Continue => {}
                    Next::Copy(receivers) => return copy(stream, buffer, start..filled, &receivers).await,
                    Next::End => return Ok(()),
                }
            }
            start += used;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        start = 0;
        filled += read(stream, &mut buffer[filled..]).await?;
    }
}

async fn answer(
    stream: &Rc<TcpStream>,
    consumers: &Consumers,
    channel: u16,
    method: &Method<'_>,
) -> Result<Next, Fault> {
    match method {
        Method::ConnectionStartOk(_) => {
            let tune = connection::Tune { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 0 };
            send(stream, channel, &tune).await?;
        }
        Method::ConnectionTuneOk(_) | Method::BasicAck(_) => {}
        Method::ConnectionOpen(_) => send(stream, channel, &connection::OpenOk).await?,
        Method::ChannelOpen(_) => send(stream, channel, &channel::OpenOk).await?,
        Method::QueueDeclare(queue::Declare { no_wait: true, .. })
        | Method::QueueDelete(queue::Delete { no_wait: true, .. }) => {}
        Method::QueueDeclare(declare) => {
            let reply = queue::DeclareOk { queue: declare.queue, message_count: 0, consumer_count: 0 };
            send(stream, channel, &reply).await?;
        }
        Method::QueueBind(_) => send(stream, channel, &queue::BindOk).await?,
        Method::QueueDelete(_) => send(stream, channel, &queue::DeleteOk { message_count: 0 }).await?,
        Method::ExchangeDeclare(_) => send(stream, channel, &exchange::DeclareOk).await?,
        Method::ExchangeDelete(_) => send(stream, channel, &exchange::DeleteOk).await?,
        Method::BasicQos(_) => send(stream, channel, &basic::QosOk).await?,
        Method::BasicConsume(consume) => {
            send(stream, channel, &basic::ConsumeOk { consumer_tag: consume.consumer_tag }).await?;
            consumers.borrow_mut().push((consume.queue.to_owned(), Rc::clone(stream)));
        }
        Method::BasicPublish(publish) => {
            let all = consumers.borrow();
            let wanted =
                all.iter().filter(|(queue, _)| !publish.exchange.is_empty() || queue == publish.routing_key);
            return Ok(Next::Copy(wanted.map(|(_, consumer)| Rc::clone(consumer)).collect()));
        }
        Method::ConnectionClose(_) => {
            send(stream, channel, &connection::CloseOk).await?;
            return Ok(Next::End);
        }
        other => return Err(Fault::Unanswered(other.name())),
    }
    Ok(Next::Continue)
}

/// Copies what is in the buffer and all that follows, one write a read and consumer.
async fn copy(
    publisher: &TcpStream,
    mut buffer: Vec<u8>,
    mut held: std::ops::Range<usize>,
    consumers: &[Rc<TcpStream>],
) -> Result<(), Fault> {
    let mut heads = FrameHeads::default();
    loop {
        heads.walk(&buffer[held.clone()])?;
        for consumer in consumers {
            write(consumer, &buffer[held.clone()]).await?;
        }
        let count = read(publisher, &mut buffer).await?;
        held = 0..count;
    }
}

/// Walks the frames of a byte stream that comes in pieces.
#[derive(Debug, Default)]
struct FrameHeads {
    /// The start of a head whose end has not come.
    partial: Vec<u8>,
    /// Bytes of payload and frame-end that have not come.
    skip: usize,
}

impl FrameHeads {
    fn walk(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            if self.partial.is_empty()
                && let Some((head, rest)) = bytes.split_first_chunk::<HEAD_SIZE>()
            {
                self.skip = payload_size(head)? + 1;
                bytes = rest;
                continue;
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(HEAD_SIZE - self.partial.len()));
            self.partial.extend_from_slice(taken);
            bytes = rest;
            if let Some(head) = self.partial.first_chunk() {
                self.skip = payload_size(head)? + 1;
                self.partial.clear();
            }
        }
    }
}

fn payload_size(head: &[u8; HEAD_SIZE]) -> Result<usize, FrameError> {
    let [frame_type, c0, c1, s0, s1, s2, s3] = *head;
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    if size > FRAME_MAX {
        let channel = u16::from_be_bytes([c0, c1]);
        return Err(FrameError::TooLarge { frame_type, channel, size, maximum: FRAME_MAX });
    }
    Ok(size as usize)
}

async fn send(stream: &TcpStream, channel: u16, method: &impl EncodeMethod) -> Result<(), Fault> {
    let mut out = Vec::new();
    frame::encode_method(&mut out, channel, method);
    write(stream, &out).await
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> Result<(), Fault> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn read(stream: &TcpStream, room: &mut [u8]) -> Result<usize, Fault> {
    loop {
        stream.readable().await?;
        match stream.try_read(room) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_in_any_pieces() {
        let mut bytes = Vec::new();
        for size in [0, 1, 300, 4000] {
            frame::encode_body(&mut bytes, 1, &vec![9; size]);
        }
        for piece in [1, 3, 7, 8, 1000, bytes.len()] {
            let mut heads = FrameHeads::default();
            for part in bytes.chunks(piece) {
                heads.walk(part).unwrap();
            }
            assert_eq!((heads.skip, heads.partial.len()), (0, 0), "pieces of {piece}");
        }
    }

    #[test]
    fn a_frame_beyond_the_bound_is_refused() {
        let mut heads = FrameHeads::default();
        assert!(heads.walk(&[3, 0, 1, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
