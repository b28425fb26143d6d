"""The messages of D-Bus as bytes and back; the only importer of jeepney. No input or output."""

from __future__ import annotations

from tokenkeep.errors import MissingExtra

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

try:
    from jeepney.low_level import (  # type: ignore[import-untyped]
        Endianness,
        Header,
        HeaderFields,
        Message,
        MessageType,
        Parser,
        SizeLimitError,
    )
except ImportError:
    raise MissingExtra(
        "the Secret Service, fprintd and polkit are spoken to over D-Bus, which needs jeepney",
        extra="secret-service",
    ) from None

__all__ = ["Incoming", "Property", "Reader", "Request", "SizeLimitError"]

_PROPERTIES = "org.freedesktop.DBus.Properties"


class Request:
    """One method call: where, what, and with which values.

    Args:
        signature: the D-Bus signature of the values; empty if there are none.
        body: the values; what is secret in them was encrypted before.
        answer: the D-Bus signature of the values that answer it; empty if there are none.
        has_value: among its own is what a person wants kept, of whatever size.
    """

    __slots__ = ("answer", "body", "destination", "has_value", "interface", "member", "path",
                 "signature")  # fmt: skip

    def __init__(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
        *,
        answer: str = "",
        has_value: bool = False,
    ) -> None:
        self.destination = destination
        self.path = path
        self.interface = interface
        self.member = member
        self.signature = signature
        self.body = body
        self.answer = answer
        self.has_value = has_value

    def __repr__(self) -> str:
        return f"Request({self.interface}.{self.member})"

    def encode(self, serial: int) -> bytes:
        """The message's bytes.

        Raises:
            SizeLimitError: an array of more than 64 MiB (D-Bus Specification, "Arrays").
        """
        fields = {
            HeaderFields.path: self.path,
            HeaderFields.destination: self.destination,
            HeaderFields.interface: self.interface,
            HeaderFields.member: self.member,
        }
        if self.signature:
            fields[HeaderFields.signature] = self.signature
        header = Header(Endianness.little, MessageType.method_call, 0, 1, -1, serial, fields)
        encoded: bytes = Message(header, self.body).serialise(serial)
        return encoded

    def is_answered_by(self, reply: Incoming) -> bool:
        """Whether the reply's values are of the kind that they have to be."""
        return reply.signature == self.answer

    def values_in(self, reply: Incoming) -> tuple[Any, ...]:
        """The values of a reply that answers this."""
        return reply.body


class Property(Request):
    """The question for one property; its answer is one value.

    Args:
        kind: the D-Bus signature of the property's value.
    """

    __slots__ = ("kind",)

    def __init__(self, destination: str, path: str, interface: str, name: str, kind: str) -> None:
        super().__init__(destination, path, _PROPERTIES, "Get", "ss", (interface, name), answer="v")
        self.kind = kind

    def __repr__(self) -> str:
        return f"Property({self.body[0]}.{self.body[1]})"

    def is_answered_by(self, reply: Incoming) -> bool:
        """Also of the value in the variant."""
        return super().is_answered_by(reply) and reply.body[0][0] == self.kind

    def values_in(self, reply: Incoming) -> tuple[Any, ...]:
        """The value, taken out of its variant."""
        return (reply.body[0][1],)


class Incoming:
    """One message from the bus: a reply, an error or a signal.

    Attributes:
        reply_to: the serial of the request it answers; None for a signal.
        error: the error's name; None if it is none.
        signature: the D-Bus signature of the values, which they keep to.
    """

    __slots__ = ("body", "error", "interface", "member", "path", "reply_to", "signature")

    def __init__(self, message: Any) -> None:
        fields = message.header.fields
        kind = message.header.message_type
        self.reply_to: int | None = None
        if kind is MessageType.method_return or kind is MessageType.error:
            self.reply_to = fields.get(HeaderFields.reply_serial)
        self.error: str | None = None
        if kind is MessageType.error:
            self.error = fields.get(HeaderFields.error_name, "")
        self.path: str = fields.get(HeaderFields.path, "")
        self.interface: str = fields.get(HeaderFields.interface, "")
        self.member: str = fields.get(HeaderFields.member, "")
        self.signature: str = fields.get(HeaderFields.signature, "")
        self.body: tuple[Any, ...] = message.body

    def __repr__(self) -> str:
        return f"Incoming({self.interface}.{self.member}, error={self.error!r})"


class Reader:
    """Cuts a stream of bytes into messages."""

    __slots__ = ("_parser",)

    def __init__(self) -> None:
        self._parser: Any = Parser()

    def feed(self, data: bytes) -> Iterator[Incoming]:
        """The messages that these bytes complete.

        Raises:
            ValueError: this is no D-Bus.
        """
        problem = False
        try:
            messages = self._parser.feed(data)
        except Exception:  # whatever a parser says of bytes that are no message
            problem = True
        if problem:
            raise ValueError("the bus sent something that is no message")
        return map(Incoming, messages)
