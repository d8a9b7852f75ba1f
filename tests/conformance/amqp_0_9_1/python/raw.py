"""An AMQP 0-9-1 client without opinions, for what a well-behaved library would never send.

    Raw.connect(address)          a TCP connection, nothing sent yet
    Raw.open(address, ...)        the handshake done, each of its answers replaceable
    raw.call(ch, method, Reply)   one method, one reply
    raw.frame(...), raw.send(...) any frame, any bytes
    raw.connection_closed_with()  expects connection.close, answers it, expects the end of the stream

Well-formed methods are encoded and decoded by pika.spec; everything else is bytes.
"""

import socket
import struct
import time
from collections import namedtuple

from pika import spec

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE

Frame = namedtuple("Frame", "type channel payload")
Content = namedtuple("Content", "method properties body")
CLIENT_CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
}


class Raw:
    """One TCP connection to the broker; reads are bounded by `timeout` seconds."""

    def __init__(self, sock, timeout):
        self.sock = sock
        self.timeout = timeout
        self.buffer = b""
        self.server_properties = {}
        self.tune = None

    @classmethod
    def connect(cls, address, timeout=15):
        """Connects and sends nothing."""
        sock = socket.create_connection((address.host, address.port), timeout=timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock, timeout)

    @classmethod
    def started(cls, address, header=PROTOCOL_HEADER, timeout=15):
        """Connects, sends the protocol header and reads connection.start."""
        raw = cls.connect(address, timeout)
        raw.send(header)
        start = raw.expect(0, spec.Connection.Start)
        raw.server_properties = start.server_properties
        raw.start = start
        return raw

    @classmethod
    def tuned(cls, address, capabilities=None, timeout=15, **header):
        """As `started`, then logs in and reads connection.tune."""
        raw = cls.started(address, timeout=timeout, **header)
        raw.login(address, capabilities=capabilities)
        raw.tune = raw.expect(0, spec.Connection.Tune)
        return raw

    @classmethod
    def open(cls, address, channel_max=None, frame_max=None, heartbeat=0, vhost=None, **options):
        """The whole handshake. What is None is answered as the broker proposed it."""
        raw = cls.tuned(address, **options)
        raw.tune_ok(channel_max, frame_max, heartbeat)
        raw.call(0, spec.Connection.Open(vhost or address.vhost), spec.Connection.OpenOk)
        return raw

    def login(self, address, user=None, password=None, mechanism="PLAIN", response=None, capabilities=None):
        """Sends connection.start-ok."""
        if response is None:
            response = f"\0{user or address.user}\0{password or address.password}"
        chosen = CLIENT_CAPABILITIES if capabilities is None else capabilities
        properties = {"product": "raw", "capabilities": chosen}
        self.method(0, spec.Connection.StartOk(properties, mechanism, response, "en_US"))

    def tune_ok(self, channel_max=None, frame_max=None, heartbeat=0):
        """Sends connection.tune-ok; None repeats the broker's proposal."""
        channel_max = self.tune.channel_max if channel_max is None else channel_max
        frame_max = self.tune.frame_max if frame_max is None else frame_max
        self.method(0, spec.Connection.TuneOk(channel_max, frame_max, heartbeat))

    def send(self, data):
        """Sends bytes as they are."""
        self.sock.sendall(data)

    def frame(self, kind, channel, payload, end=FRAME_END, size=None):
        """Sends one frame; `size` overrides the length field."""
        self.send(encode_frame(kind, channel, payload, end, size))

    def method(self, channel, method):
        """Sends one method."""
        self.frame(METHOD, channel, encode_method(method))

    def raw_method(self, channel, class_id, method_id, arguments=b""):
        """Sends a method by numbers, with its arguments as bytes."""
        self.frame(METHOD, channel, struct.pack(">HH", class_id, method_id) + arguments)

    def header(self, channel, size, properties=b"\x00\x00", class_id=60, weight=0):
        """Sends a content header; `properties` are the encoded flags and values."""
        self.frame(HEADER, channel, struct.pack(">HHQ", class_id, weight, size) + properties)

    def publish(self, channel, exchange, routing_key, body=b"", properties=b"\x00\x00", mandatory=False):
        """Sends basic.publish with its header and body in one body frame."""
        self.method(
            channel, spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
        )
        self.header(channel, len(body), properties)
        if body:
            self.frame(BODY, channel, body)

    def call(self, channel, method, reply):
        """Sends a method and reads the expected reply."""
        self.method(channel, method)
        return self.expect(channel, reply)

    def open_channel(self, channel=1):
        """Opens a channel and returns its number."""
        self.call(channel, spec.Channel.Open(), spec.Channel.OpenOk)
        return channel

    def read(self, size):
        """Reads exactly `size` bytes; EOFError when the peer has closed."""
        while len(self.buffer) < size:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(f"closed by the broker with {len(self.buffer)} of {size} bytes read")
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def read_frame(self, heartbeats=False):
        """Reads one frame; skips heartbeats unless they are asked for."""
        while True:
            kind, channel, size = struct.unpack(">BHI", self.read(7))
            payload = self.read(size)
            assert self.read(1)[0] == FRAME_END
            if kind != HEARTBEAT or heartbeats:
                return Frame(kind, channel, payload)

    def expect(self, channel, reply):
        """Reads one method on `channel` and asserts its kind."""
        frame = self.read_frame()
        assert frame.type == METHOD, f"expected {reply.NAME}, got frame {frame}"
        method = decode_method(frame.payload)
        assert isinstance(method, reply), f"expected {reply.NAME}, got {method}"
        assert frame.channel == channel, f"{reply.NAME} on channel {frame.channel}, expected {channel}"
        return method

    def expect_content(self, channel, carrier):
        """Reads a method with content (deliver, return, get-ok): properties stay encoded."""
        method = self.expect(channel, carrier)
        header = self.read_frame()
        assert header.type == HEADER and header.channel == channel
        size = struct.unpack_from(">Q", header.payload, 4)[0]
        body = b""
        while len(body) < size:
            part = self.read_frame()
            assert part.type == BODY and part.channel == channel
            body += part.payload
        assert len(body) == size
        return Content(method, header.payload[12:], body)

    def channel_closed_with(self, channel, code, text=None):
        """Expects channel.close with this code (and text), answers it and returns it."""
        close = self.expect(channel, spec.Channel.Close)
        check_close(close, code, text)
        self.method(channel, spec.Channel.CloseOk())
        return close

    def connection_closed_with(self, code, text=None):
        """Expects connection.close with this code (and text), answers it, expects the end of the stream."""
        close = self.expect(0, spec.Connection.Close)
        check_close(close, code, text)
        self.method(0, spec.Connection.CloseOk())
        self.expect_end()
        return close

    def frames_until_end(self):
        """All frames until the broker closes the socket; a connection.close among them is answered."""
        while True:
            try:
                frame = self.read_frame(heartbeats=True)
            except (EOFError, ConnectionResetError):
                return
            if frame.payload.startswith(struct.pack(">I", spec.Connection.Close.INDEX)):
                self.method(0, spec.Connection.CloseOk())
            yield frame

    def expect_end(self, timeout=None):
        """Expects the broker to close the socket without sending anything more."""
        left = self.drain(timeout)
        assert left == b"", f"expected the end of the stream, got {left!r}"

    def drain(self, timeout=None):
        """Reads until the broker closes the socket and returns what came; fails at the deadline."""
        deadline = time.monotonic() + (timeout or self.timeout)
        data, self.buffer = self.buffer, b""
        while True:
            self.sock.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                part = self.sock.recv(65536)
            except ConnectionResetError:
                return data
            if not part:
                return data
            data += part

    def close(self):
        """Drops the socket."""
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def encode_frame(kind, channel, payload, end=FRAME_END, size=None):
    """The bytes of one frame; `size` overrides the length field."""
    return struct.pack(">BHI", kind, channel, len(payload) if size is None else size) + payload + bytes([end])


def encode_method(method):
    """The payload of a method frame."""
    return struct.pack(">I", method.INDEX) + b"".join(method.encode())


def decode_method(payload):
    """The method in a method frame's payload."""
    method = spec.methods[struct.unpack_from(">I", payload)[0]]()
    method.decode(payload, 4)
    return method


def check_close(close, code, text):
    """Asserts reply code (or one of several) and text; a text ending in '...' is a beginning."""
    got = (close.reply_code, close.reply_text)
    if text is None:
        codes = code if isinstance(code, tuple) else (code,)
        assert close.reply_code in codes, f"expected code {code}, got {got}"
    elif text.endswith("..."):
        assert close.reply_code == code and close.reply_text.startswith(text[:-3]), (
            f"expected {(code, text)}, got {got}"
        )
    else:
        assert got == (code, text)
