"""Field tables of AMQP 0-9-1 with every type spelled out.

pika chooses a type for each Python value and reads floats as integers. These helpers write exactly the type that a
test names and read back (name, type, value), so that a broker which changes a type on the way is caught.
"""

import struct

# Fixed-size types as RabbitMQ's own clients use the letters (trap 7), with their struct formats.
FIXED = {
    "t": ">?",
    "b": ">b",
    "B": ">B",
    "s": ">h",
    "u": ">H",
    "I": ">i",
    "i": ">I",
    "l": ">q",
    "L": ">q",
    "f": ">f",
    "d": ">d",
    "T": ">Q",
}


def shortstr(text):
    """A short string: one length octet, then UTF-8 (bytes are taken as they are)."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack(">B", len(raw)) + raw


def longstr(text):
    """A long string: four length octets, then the bytes."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack(">I", len(raw)) + raw


def value(kind, content=None):
    """One typed field value. `kind` is the type letter; D takes (scale, unscaled), A and F take encoded items."""
    letter = kind.encode()
    if kind in FIXED:
        return letter + struct.pack(FIXED[kind], content)
    if kind == "D":
        return letter + struct.pack(">Bi", *content)
    if kind in "Sx":
        return letter + longstr(content)
    if kind in "AF":
        return letter + longstr(b"".join(content))
    if kind == "V":
        return letter
    raise ValueError(f"no field type {kind!r}")


def entry(name, kind, content=None):
    """One name-value pair of a table."""
    return shortstr(name) + value(kind, content)


def table(*entries):
    """A table from entries, with its length in front."""
    return longstr(b"".join(entries))


def read_value(data, at):
    """Reads one value at offset `at`: ((kind, content), next offset)."""
    kind = data[at : at + 1].decode("latin-1")
    at += 1
    if kind in FIXED:
        return (kind, struct.unpack_from(FIXED[kind], data, at)[0]), at + struct.calcsize(FIXED[kind])
    if kind == "D":
        return (kind, struct.unpack_from(">Bi", data, at)), at + 5
    if kind == "V":
        return (kind, None), at
    size = struct.unpack_from(">I", data, at)[0]
    at += 4
    end = at + size
    if kind in "Sx":
        return (kind, data[at:end]), end
    if kind == "F":
        return (kind, read_entries(data, at, end)), end
    if kind == "A":
        items = []
        while at < end:
            item, at = read_value(data, at)
            items.append(item)
        return (kind, items), end
    raise ValueError(f"unknown field type {kind!r}")


def read_entries(data, at, end):
    """Reads the entries between two offsets: {name: (kind, content)}."""
    found = {}
    while at < end:
        length = data[at]
        name = data[at + 1 : at + 1 + length].decode()
        found[name], at = read_value(data, at + 1 + length)
    return found


def read_table(data, at=0):
    """Reads a table at offset `at`: ({name: (kind, content)}, next offset)."""
    end = at + 4 + struct.unpack_from(">I", data, at)[0]
    return read_entries(data, at + 4, end), end
