"""Looks through a protocol message before it is parsed: two bytes on the wire can become a hundred in memory.

The wire format: https://protobuf.dev/programming-guides/encoding.
"""

from typing import Any

from alexnet_tf.local_server.memory import COPIES
from alexnet_tf.local_server.request_error import RequestError, invalid

MAX_FIELDS = 100_000
"""Fields of a message with all messages in it; a picture takes 1 in a Predict request and some 6 in a Classify request.
Numbers that are packed, as everybody's are, count as one."""
MAX_DEPTH = 16
"""Messages within messages; Classify needs 8."""
PER_FIELD = 300
"""Bytes of memory for a field: the parsed message, and Python's object for it."""
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5


def message_needs(data: bytes, message: Any) -> int:
    """Bytes that a message takes at most, serialized, parsed and as arrays of its texts.

    Args:
      data: the message as it came.
      message: its class.

    Raises:
      RequestError: it is no such message, or made of more pieces than any use needs.
    """
    try:
        fields, packed = _count(data, 0, len(data), message.DESCRIPTOR, 0, 0)
    except IndexError as fault:
        raise invalid("the message ends too early") from fault
    return len(data) * COPIES + packed * 8 + fields * PER_FIELD


def _count(data: bytes, at: int, end: int, descriptor: Any, fields: int, depth: int) -> tuple[int, int]:
    """Adds this message's fields to those counted so far; beside them, the bytes of packed numbers in it."""
    if depth > MAX_DEPTH:
        raise invalid(f"the message is nested deeper than {MAX_DEPTH} messages")
    packed = 0
    while at < end:
        fields += 1
        if fields > MAX_FIELDS:
            raise RequestError(
                "RESOURCE_EXHAUSTED", f"the message has more than {MAX_FIELDS} fields; send less at a time"
            )
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == DELIMITED:
            length, at = _varint(data, at)
            if at + length > end:
                raise IndexError
            field = descriptor.fields_by_number.get(tag >> 3) if descriptor else None
            if field is not None and field.message_type is not None:
                fields, inner = _count(data, at, at + length, field.message_type, fields, depth + 1)
                packed += inner
            elif field is not None and field.type not in (field.TYPE_BYTES, field.TYPE_STRING):
                packed += length
            at += length
        elif kind == VARINT:
            _, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        else:
            raise invalid("the message cannot be read: it is no protocol message of this call")
    if at > end:
        raise IndexError
    return fields, packed


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise invalid("the message cannot be read: a number has more than 64 bits")
