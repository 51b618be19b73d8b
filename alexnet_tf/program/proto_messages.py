"""Messages of protocol buffers from a few lines of schema, where the packages that define them are absent or slow."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Schema = Mapping[str, Sequence[tuple[int, str, str]]]
"""Message: (field number, name, type) of its fields; a type with a star is repeated, its numbers packed."""


def message_classes(package: str, schema: Schema) -> dict[str, Any]:
    """The classes of all messages of a schema, by name.

    Args:
      package: what the messages' names begin with; in a pool of its own, for another package may define the same.
      schema: types are those of the language, such as "int64", or messages of the schema.
    """
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for message, entries in schema.items():
        added = file.message_type.add(name=message)
        for number, name, starred in entries:
            kind = starred.rstrip("*")
            field = added.field.add(name=name, number=number)
            field.label = field_type.LABEL_REPEATED if starred.endswith("*") else field_type.LABEL_OPTIONAL
            if kind in schema:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = getattr(field_type, f"TYPE_{kind.upper()}")
                field.options.packed = starred.endswith("*") and kind not in ("bytes", "string")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in schema}
