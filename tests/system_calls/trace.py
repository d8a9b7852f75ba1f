"""What strace has written, in order: which bytes a call had, when it began, when it had ended.

One tracer stops every thread of the broker at the begin and the end of each call, so the lines of its file are one
order of all of them; where one call's end caused another's begin, that is the order in which it happened.
"""

import re
from dataclasses import dataclass, field

from pika import frame as frames
from pika import spec

CALLS = "pwrite64,pwritev,pwritev2,fdatasync,fsync,sync_file_range,write,writev,sendto,sendmsg"
# Bytes of a buffer that are told; batches of these tests are shorter, and prepared segments are zeros.
TOLD = 32768
LINE = re.compile(r"^(\d+) +[\d:.]+ (.*)$")
BEGUN = re.compile(r"^(\w+)\(")
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>")
UNFINISHED = " <unfinished ...>"
TARGET = re.compile(r"^\w+\((\d+)<((?:\\x[0-9a-f]{2})*)>")
BUFFER = re.compile(r'(?:iov_base=|, )"((?:\\x[0-9a-f]{2})*)"')
RESULT = re.compile(r"\) += (-?\d+)[^)]*$")


def command(file):
    """The tracer in front of a command. It goes with the broker, whose parent it is not."""
    return ["strace", "-D", "-f", "-tt", "-y", "-xx", "-s", str(TOLD), "-e", f"trace={CALLS}", "-o", str(file)]


@dataclass
class Call:
    """A system call; `began` and `ended` are numbers of lines, `ended` is None if the process died before."""

    name: str
    began: int
    text: str
    ended: int | None = None
    result: int | None = None
    file: str = ""
    data: bytes = field(default=b"", repr=False)

    def finish(self, number, rest):
        self.ended = number
        self.text += rest
        result = RESULT.search(self.text)
        self.result = int(result[1]) if result else None
        target = TARGET.match(self.text)
        self.file = f"{target[1]}:{unescape(target[2]).decode()}" if target else ""
        self.data = b"".join(unescape(part) for part in BUFFER.findall(self.text))
        self.text = ""


def unescape(text):
    return bytes.fromhex(text.replace("\\x", ""))


def calls_of(lines):
    """All calls of a trace, by their begin."""
    calls, open_calls = [], {}
    for number, line in enumerate(lines):
        thread, text = LINE.match(line).groups()
        resumed = RESUMED.match(text)
        if resumed:
            open_calls.pop(thread).finish(number, text[resumed.end() :])
        elif begun := BEGUN.match(text):
            call = Call(begun[1], number, "")
            calls.append(call)
            if text.endswith(UNFINISHED):
                call.text = text.removesuffix(UNFINISHED)
                open_calls[thread] = call
            else:
                call.finish(number, text)
    return calls


class Trace:
    """Calls on the journal and on sockets."""

    def __init__(self, lines):
        calls = calls_of(lines)
        self.writes = [call for call in calls if call.name.startswith("pwrite")]
        self.syncs = [call for call in calls if call.name in ("fdatasync", "fsync")]
        self.sent = [call for call in calls if "socket:" in call.file]

    def methods(self, *kinds):
        """The methods of these kinds that were sent on any socket, with the write in which each began."""
        found = []
        streams = {}
        for call in self.sent:
            # Only what the call has taken.
            taken = call.data[: max(call.result or 0, 0)]
            stream = streams.setdefault(call.file, [b"", []])
            stream[1].append((len(stream[0]), call))
            stream[0] += taken
        for data, origins in streams.values():
            offset = 0
            while offset < len(data):
                length, decoded = frames.decode_frame(data[offset:])
                if not length:
                    break
                if isinstance(decoded, frames.Method) and isinstance(decoded.method, kinds):
                    call = [call for start, call in origins if start <= offset][-1]
                    found.append((decoded.method, call))
                offset += length
        return sorted(found, key=lambda one: one[1].began)

    def written(self, marker, since=-1):
        """The first write of a record with this marker that began behind that line."""
        for call in self.writes:
            if call.began > since and marker in call.data:
                return call
        raise AssertionError(f"no write has {marker}")

    def synced(self, write):
        """The first sync of that file that began when the write had ended."""
        for call in self.syncs:
            if call.began > write.ended and call.file == write.file and call.result == 0:
                return call
        raise AssertionError(f"no sync behind {write}")

    def check(self, marker, told, since=-1):
        """What was told in that call was on disk: written, then synced, then told."""
        write = self.written(marker, since)
        sync = self.synced(write)
        assert write.ended < sync.began and sync.ended < told.began, (
            f"{marker}: written in lines {write.began} to {write.ended}, synced in {sync.began} to {sync.ended}, "
            f"told in {told.began}"
        )

    def syncs_before(self, call):
        """How many syncs had ended."""
        return sum(sync.ended < call.began for sync in self.syncs if sync.ended is not None)


def acknowledged(methods):
    """Each delivery tag that a sequence of basic.ack confirms, with the call that told it."""
    lowest = 1
    for method, call in methods:
        assert isinstance(method, spec.Basic.Ack)
        first = lowest if method.multiple else method.delivery_tag
        for tag in range(first, method.delivery_tag + 1):
            yield tag, call
        lowest = max(lowest, method.delivery_tag + 1) if method.multiple else lowest
