//! A bare socket that speaks just enough of AMQP 0-9-1 to come in, to be turned away, or to fall silent.

use fairlead_tests::Broker;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The header of AMQP 0-9-1.
pub const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a broker.
pub struct Socket(TcpStream);

impl Socket {
    /// Over IPv4 loopback.
    pub fn new(broker: &Broker) -> Socket {
        Socket::to("127.0.0.1", broker)
    }

    pub fn to(host: &str, broker: &Broker) -> Socket {
        let stream = TcpStream::connect((host, broker.amqp_port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Socket(stream)
    }

    /// How the broker's log names the connection.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.0.local_addr().unwrap(), self.0.peer_addr().unwrap())
    }

    /// Its own end's address.
    pub fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// A method frame on channel 0.
    pub fn method(&mut self, class: u16, method: u16, arguments: &[u8]) {
        self.method_on(0, class, method, arguments);
    }

    fn method_on(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) {
        let id = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.frame(1, channel, &[&id, arguments].concat());
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame.push(0xce);
        self.send(&frame);
    }

    /// Publishes to a queue on channel 1, and waits until the broker has it.
    pub fn publish(&mut self, queue: &str, body: &[u8]) {
        self.method_on(1, 20, 10, &[0]);
        assert_eq!(self.next_method().0, (20, 11), "channel.open-ok");
        self.send_message(queue, &[0, 0], body);
        self.method_on(1, 20, 40, &[0, 200, 0, 0, 0, 0, 0]);
        assert_eq!(self.next_method().0, (20, 41), "channel.close-ok");
    }

    /// Publishes a persistent message to a queue on channel 1, and waits until it is confirmed.
    pub fn publish_for_good(&mut self, queue: &str, body: &[u8]) {
        self.method_on(1, 20, 10, &[0]);
        assert_eq!(self.next_method().0, (20, 11), "channel.open-ok");
        self.method_on(1, 85, 10, &[0]);
        assert_eq!(self.next_method().0, (85, 11), "confirm.select-ok");
        // Only the delivery mode.
        self.send_message(queue, &[0x10, 0, 2], body);
        assert_eq!(self.next_method().0, (60, 80), "basic.ack");
        self.method_on(1, 20, 40, &[0, 200, 0, 0, 0, 0, 0]);
        assert_eq!(self.next_method().0, (20, 41), "channel.close-ok");
    }

    fn send_message(&mut self, queue: &str, properties: &[u8], body: &[u8]) {
        let mut arguments = vec![0, 0, 0, u8::try_from(queue.len()).unwrap()];
        arguments.extend(queue.as_bytes());
        arguments.push(0);
        self.method_on(1, 60, 40, &arguments);
        let mut header = vec![0, 60, 0, 0];
        header.extend((body.len() as u64).to_be_bytes());
        header.extend(properties);
        self.frame(2, 1, &header);
        self.frame(3, 1, body);
    }

    /// The class and method of the next method frame, and its arguments.
    pub fn next_method(&mut self) -> ((u16, u16), Vec<u8>) {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let mut rest = vec![0; length + 1];
            self.0.read_exact(&mut rest).unwrap();
            if head[0] == 1 {
                let number = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
                return ((number(0), number(2)), rest[4..length].to_vec());
            }
        }
    }

    /// The header that the broker answers a wrong one with.
    pub fn next_header(&mut self) -> [u8; 8] {
        let mut header = [0; 8];
        self.0.read_exact(&mut header).unwrap();
        header
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }

    /// The header, and connection.start-ok with PLAIN.
    pub fn log_in(&mut self, user: &str, password: &str) {
        self.send(HEADER);
        assert_eq!(self.next_method().0, (10, 10), "connection.start");
        let response = format!("\0{user}\0{password}");
        let mut arguments = vec![0, 0, 0, 0];
        arguments.extend(b"\x05PLAIN");
        arguments.extend(u32::try_from(response.len()).unwrap().to_be_bytes());
        arguments.extend(response.as_bytes());
        arguments.extend(b"\x05en_US");
        self.method(10, 11, &arguments);
    }

    /// An open connection of `guest`; a heartbeat of 0 is none.
    pub fn open(broker: &Broker, heartbeat: u16) -> Socket {
        let mut socket = Socket::new(broker);
        socket.log_in("guest", "guest");
        socket.go_on(heartbeat);
        socket
    }

    /// From connection.tune to connection.open-ok.
    pub fn go_on(&mut self, heartbeat: u16) {
        let (id, tune) = self.next_method();
        assert_eq!(id, (10, 30), "connection.tune");
        let mut arguments = tune[..6].to_vec();
        arguments.extend(heartbeat.to_be_bytes());
        self.method(10, 31, &arguments);
        self.method(10, 40, b"\x01/\x00\x00");
        assert_eq!(self.next_method().0, (10, 41), "connection.open-ok");
    }
}
