"""What the cases publish."""

import pika

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def pattern(length):
    """A body whose every part is different."""
    return bytes(byte for number in range(length // 8 + 1) for byte in number.to_bytes(8, "big"))[:length]
