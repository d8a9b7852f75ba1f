//! One TCP connection to a broker: reading, writing, and calls that wait for their reply.

use crate::inbox::Inbox;
use crate::{Address, ClosedBy, Error, handshake};
use fairlead_amqp_0_9_1::codec::{EncodeMethod, Frame, Payload, frame};
use fairlead_amqp_0_9_1::spec::{Method, basic, channel, connection};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// How a connection is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The local address to connect from: one address has some 28,000 ports.
    pub source: Option<IpAddr>,
    /// The largest frame to agree on, in bytes, if the broker agrees; at least 4096.
    pub frame_max: u32,
    /// The connection's name, as management shows it.
    pub name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { source: None, frame_max: 131_072, name: "fairlead-client".into() }
    }
}

/// An open connection. Dropping it closes the socket; [`Connection::close`] says goodbye first.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    inbox: Inbox,
    /// Encoded frames of calls.
    outgoing: Vec<u8>,
    /// The payload of the reply to the last call.
    reply: Vec<u8>,
    pub(crate) frame_max: u32,
    /// Product and version, as connection.start gave them.
    pub(crate) server: String,
}

impl Connection {
    /// Connects, logs in with SASL PLAIN and opens the virtual host.
    pub async fn open(address: &Address, options: &Options) -> Result<Self, Error> {
        let stream = connect(address, options.source)
            .await
            .map_err(|source| Error::Connect { address: address.to_string(), source })?;
        // Batches are made here, on purpose: the kernel must not wait to make its own.
        stream.set_nodelay(true).map_err(|source| Error::Io { action: "set TCP_NODELAY", source })?;
        let mut connection = Self {
            stream,
            inbox: Inbox::default(),
            outgoing: Vec::new(),
            reply: Vec::new(),
            frame_max: options.frame_max,
            server: String::new(),
        };
        handshake::run(&mut connection, address, options).await?;
        Ok(connection)
    }

    /// The agreed largest frame, in bytes, its envelope included.
    #[must_use]
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// The broker's product and version, for people: `RabbitMQ 3.10.8`. Empty if it does not say.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Waits until the broker has sent something and reads it; gives the number of bytes.
    pub async fn read(&mut self) -> Result<usize, Error> {
        loop {
            self.stream.readable().await.map_err(|source| Error::Io { action: "read", source })?;
            if let Some(count) = self.try_read()? {
                return Ok(count);
            }
        }
    }

    /// Reads what has come, without waiting; `None` if nothing has.
    pub fn try_read(&mut self) -> Result<Option<usize>, Error> {
        let room = self.inbox.room()?;
        match self.stream.try_read(room) {
            Ok(0) => Err(Error::EndOfStream("while more was expected")),
            Ok(count) => {
                self.inbox.filled(count);
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(source) => Err(Error::Io { action: "read", source }),
        }
    }

    /// Takes the next complete frame from what was read. A channel or connection that the broker closes is an
    /// error here, whatever the caller was doing.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        match self.inbox.next_frame(self.frame_max)? {
            Some(Frame { channel, payload: Payload::Method(payload) }) if is_close(payload) => {
                Err(closed(channel, payload))
            }
            frame => Ok(frame),
        }
    }

    /// Writes encoded frames, all of them.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await.map_err(|source| Error::Io { action: "write", source })?;
                }
                Err(source) => return Err(self.why_broken(source)),
            }
        }
        Ok(())
    }

    /// Sends a method that has no reply, or whose reply is not awaited.
    pub async fn send(&mut self, channel: u16, method: &impl EncodeMethod) -> Result<(), Error> {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        outgoing.clear();
        frame::encode_method(&mut outgoing, channel, method);
        let result = self.write(&outgoing).await;
        self.outgoing = outgoing;
        result
    }

    /// Sends a method and waits for one of the `expected` replies, given by their ids. Other frames that come first
    /// stay in the read buffer for [`Connection::next_frame`].
    pub async fn call(
        &mut self,
        channel: u16,
        method: &impl EncodeMethod,
        expected: &[u32],
    ) -> Result<Method<'_>, Error> {
        self.send(channel, method).await?;
        self.reply(channel, expected).await
    }

    /// Waits for one of the `expected` methods.
    pub(crate) async fn reply(&mut self, channel: u16, expected: &[u32]) -> Result<Method<'_>, Error> {
        let mut offset = 0;
        loop {
            while let Some((frame, length)) = self.inbox.frame_at(offset, self.frame_max)? {
                if let Payload::Method(payload) = frame.payload {
                    if is_close(payload) {
                        return Err(closed(frame.channel, payload));
                    }
                    if frame.channel == channel && expected.contains(&method_id(payload)) {
                        self.reply.clear();
                        self.reply.extend_from_slice(payload);
                        self.inbox.remove(offset, length);
                        return Ok(Method::decode(&self.reply)?);
                    }
                    refuse_other_reply(channel, &frame, payload)?;
                }
                offset += length;
            }
            self.read().await?;
        }
    }

    /// Closes the connection and waits until the broker has agreed.
    pub async fn close(mut self) -> Result<(), Error> {
        let close = connection::Close { reply_code: 200, reply_text: "done", class_id: 0, method_id: 0 };
        self.send(0, &close).await?;
        loop {
            while let Some(frame) = self.inbox.next_frame(self.frame_max)? {
                if matches!(frame.payload, Payload::Method(p) if method_id(p) == connection::CloseOk::ID) {
                    return Ok(());
                }
            }
            self.read().await?;
        }
    }

    pub(crate) fn pending(&self) -> &[u8] {
        self.inbox.pending()
    }

    /// A failed write often means that the broker closed the connection: its reason may wait to be read.
    fn why_broken(&mut self, source: io::Error) -> Error {
        while let Ok(Some(_)) = self.try_read() {}
        loop {
            match self.next_frame() {
                Ok(Some(_)) => {}
                Err(closed @ Error::Closed { .. }) => return closed,
                Ok(None) | Err(_) => return Error::Io { action: "write", source },
            }
        }
    }
}

async fn connect(address: &Address, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for place in lookup_host((address.host.as_str(), address.port)).await? {
        match connect_to(place, source).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(place: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if place.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(place).await
}

/// Class and method id of a method frame's payload, which has at least four bytes.
#[inline]
fn method_id(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |id| u32::from_be_bytes(*id))
}

#[inline]
fn is_close(payload: &[u8]) -> bool {
    let id = method_id(payload);
    id == channel::Close::ID || id == connection::Close::ID
}

#[cold]
fn closed(channel: u16, payload: &[u8]) -> Error {
    let (by, code, text, class_id, method_id) = match Method::decode(payload) {
        Ok(Method::ChannelClose(close)) => {
            (ClosedBy::Channel(channel), close.reply_code, close.reply_text, close.class_id, close.method_id)
        }
        Ok(Method::ConnectionClose(close)) => {
            (ClosedBy::Connection, close.reply_code, close.reply_text, close.class_id, close.method_id)
        }
        Ok(other) => {
            return Error::Unexpected { found: other.name().to_owned(), expected: "a close" };
        }
        Err(error) => return Error::Decode(error),
    };
    Error::Closed { by, code, text: text.to_owned(), class_id, method_id }
}

/// While a reply is awaited only these may come first: deliveries, returns, confirms, a server's cancel and
/// word of being blocked. Anything else on the channel is the reply to a question nobody asked.
fn refuse_other_reply(channel: u16, frame: &Frame<'_>, payload: &[u8]) -> Result<(), Error> {
    const UNASKED: [u32; 6] = [
        basic::Deliver::ID,
        basic::Return::ID,
        basic::Ack::ID,
        basic::Nack::ID,
        basic::Cancel::ID,
        connection::Blocked::ID,
    ];
    let id = method_id(payload);
    if frame.channel != channel || UNASKED.contains(&id) || id == connection::Unblocked::ID {
        return Ok(());
    }
    let found = Method::decode(payload)?.name().to_owned();
    Err(Error::Unexpected { found, expected: "the awaited reply" })
}
