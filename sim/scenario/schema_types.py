"""What the models of a scenario are made of: text with units on the outside, plain numbers within.

Every type here is validated from YAML text and serialised to text that validates to the same value.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from sim.ike.constants import ProtocolId
from sim.ike.credentials import Method, parse_auth
from sim.ike.identity import Identity
from sim.ike.proposals import parse_proposal
from sim.scenario.calendar import format_date, parse_date
from sim.scenario.selectors import format_selectors, parse_selectors
from sim.units import (
    NS_PER_S,
    format_duration,
    format_rate,
    format_ratio,
    format_size,
    parse_duration,
    parse_rate,
    parse_ratio,
    parse_size,
)
from sim.wire.selector import Selector

T = TypeVar("T")
V = TypeVar("V")

NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"
MAX_DURATION = 10**9 * NS_PER_S
"""Times stay in 64 bits."""
MAX_NAME = 255
"""Names become file names, and names of interfaces in captures."""
MAX_IDENTITY_BYTES = 4096
"""An identity travels in one message with everything else of IKE_AUTH."""
MAX_PROPOSALS = 255
"""IKEv2 counts them in one octet (RFC 7296 3.3.1)."""
MAX_SELECTORS = 253
"""IKEv2 counts them in one octet (RFC 7296 3.13), and two of a packet may come first (2.9)."""
END_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_-]*:[A-Za-z0-9_][A-Za-z0-9_-]*$"


class Model(BaseModel):
    """Frozen and strict; an unknown key is an error."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _remember_shape(cls, data: object, info: ValidationInfo) -> object:
        """Tells the loader which model a mapping was read as, so that it can suggest the right key."""
        if isinstance(info.context, dict) and isinstance(data, dict):
            info.context[id(data)] = cls
        return data


class FrozenDict(dict[str, V]):
    """A mapping that refuses changes; it keeps the order of the file."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a scenario does not change; use `load(path, overrides)` or `model_copy(update=...)`")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))

    def __reduce__(self) -> tuple[type[FrozenDict[V]], tuple[dict[str, V]]]:
        return type(self), (dict(self),)


_TEXTS: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _tuple_of(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else _tuple_of(value)


def _code_point(text: str) -> str:
    if text not in map(str, range(64)):
        raise ValueError(f"{text} is no DSCP: write a number from 0 to 63")
    return text


def _keyed_by_text(value: object) -> object:
    """YAML has numbers as keys, JSON only text."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else value


def _reader(parse: Callable[[str], object], example: str) -> BeforeValidator:
    def read(value: object) -> object:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f'must be text with a unit, such as "{example}"')
        raise ValueError(f'{value} has no unit: write for example "{example}"')

    return BeforeValidator(read)


def _schema(description: str, example: str, pattern: str | None = None) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "description": description, "examples": [example]}
    return WithJsonSchema({**schema, "pattern": pattern} if pattern else schema)


def parse_secret(value: object) -> object:
    """A pre-shared key as strongSwan writes it: text, `0x` and hexadecimal, or `0s` and base64."""
    if not isinstance(value, str):
        raise ValueError("must be text: quote it")
    if not value:
        raise ValueError("an empty secret protects nothing")
    try:
        if value.startswith("0x"):
            return bytes.fromhex(value[2:])
        if value.startswith("0s"):
            return base64.b64decode(value[2:], validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError("must be hexadecimal after 0x, base64 after 0s, or else plain text") from error
    return value.encode()


def format_secret(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    plain = text.isprintable() and text.encode() == value and not text.startswith(("0x", "0s"))
    return text if plain else "0x" + value.hex()


def _prefix(text: str) -> str:
    if not isinstance(text, str):
        raise ValueError('must be text, such as "10.1.0.0/16"')
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}: write a network such as 10.1.0.0/16") from None


def _interface_address(text: object) -> str:
    if not isinstance(text, str) or "/" not in text:
        raise ValueError(f"{text!r} is not an address with a prefix length: write for example 10.1.0.1/16")
    interface = ipaddress.ip_interface(text)
    if interface.is_multicast or interface.is_unspecified:
        raise ValueError(f"{text} cannot be the address of an interface")
    return str(interface)


def _address(text: object) -> str:
    if not isinstance(text, str):
        raise ValueError("must be an IP address")
    return str(ipaddress.ip_address(text))


def _identity(text: str) -> str:
    identity = Identity.parse(text)
    if identity is not None and len(identity.data) > MAX_IDENTITY_BYTES:
        raise ValueError(f"an identity of {len(identity.data)} octets: at most {MAX_IDENTITY_BYTES}")
    return text


def _own_identity(text: str) -> str:
    identity = Identity.parse(text)
    if identity is not None and identity.is_pattern:
        raise ValueError(f"identity {text!r}: nobody is called like that, a wildcard is only for a peer")
    return _identity(text)


def _eap_user(text: str) -> str:
    if Identity.parse(text) is None:
        raise ValueError(f"{text!r} is nobody's name")
    return _own_identity(text)


def _date(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a date, such as 2026-01-01 12:00:00")
    return parse_date(value)


def _auth(value: object) -> object:
    """YAML reads a bare `null` as nothing."""
    if value is None:
        return Method.NULL.value
    if isinstance(value, str):
        parse_auth(value)
    return value


def _ike_proposal(text: str) -> str:
    parse_proposal(text, ProtocolId.IKE)
    return text


def _esp_proposal(text: str) -> str:
    parse_proposal(text, ProtocolId.ESP)
    return text


def _ah_proposal(text: str) -> str:
    parse_proposal(text, ProtocolId.AH)
    return text


Many = Annotated[tuple[T, ...], BeforeValidator(_tuple_of)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=MAX_NAME)]
"""A node, interface, tunnel or flow. No dots: `--set` and error messages join names with them."""
Table = Annotated[dict[Name, V], AfterValidator(FrozenDict)]

Duration = Annotated[
    int, Field(le=MAX_DURATION), _reader(parse_duration, "20 ms"), PlainSerializer(format_duration),
    _schema("a span of time, with its unit: ns, us, ms, s, min, h", "20 ms"),
]  # fmt: skip
Rate = Annotated[
    int, Field(gt=0), _reader(parse_rate, "100 Mbit/s"), PlainSerializer(format_rate),
    _schema("bits per second, with the unit", "100 Mbit/s"),
]  # fmt: skip
Size = Annotated[
    int, _reader(parse_size, "1400 B"), PlainSerializer(format_size),
    _schema("octets, with the unit", "1400 B"),
]  # fmt: skip
Ratio = Annotated[
    float, Field(ge=0, le=1), _reader(parse_ratio, "0.1 %"), PlainSerializer(format_ratio),
    _schema("a share, in per cent", "0.1 %"),
]  # fmt: skip
Secret = Annotated[
    bytes, BeforeValidator(parse_secret), PlainSerializer(format_secret),
    _schema("text, 0x and hexadecimal, or 0s and base64", "correct horse battery staple"),
]  # fmt: skip
Selectors = Annotated[
    tuple[Selector, ...], Field(max_length=MAX_SELECTORS),
    BeforeValidator(parse_selectors), PlainSerializer(format_selectors),
    WithJsonSchema(_TEXTS | {"examples": [["10.1.0.0/16[udp/53]"]]}),
]  # fmt: skip
Prefix = Annotated[str, BeforeValidator(_prefix)]
InterfaceAddress = Annotated[str, BeforeValidator(_interface_address)]
"""With its prefix length."""
InterfaceAddresses = Annotated[
    tuple[InterfaceAddress, ...],
    BeforeValidator(_listed), Field(min_length=1), WithJsonSchema(_TEXTS),
]  # fmt: skip
Date = Annotated[
    int, BeforeValidator(_date), PlainSerializer(format_date), _schema("a date, UTC", "2026-01-01 12:00:00"),
]  # fmt: skip
Address = Annotated[str, BeforeValidator(_address)]
IdentityText = Annotated[str, AfterValidator(_identity)]
OwnIdentityText = Annotated[str, AfterValidator(_own_identity)]
IkeProposalText = Annotated[str, AfterValidator(_ike_proposal)]
AuthText = Annotated[
    str, BeforeValidator(_auth),
    WithJsonSchema({
        "type": ["string", "null"],
        "examples": ["psk", "pubkey", "pubkey-sha256", "eap-mschapv2", "eap-tls", "eap-md5", "eap", "null"],
    }),
]  # fmt: skip
"""How somebody authenticates: psk, pubkey, null or EAP, with strongSwan's constraints on keys and hashes."""
PasswordAuthText = Literal["eap-mschapv2", "eap-md5"]
"""EAP by a password."""
EapUser = Annotated[str, AfterValidator(_eap_user)]
"""The name of somebody who authenticates by EAP."""
Passwords = Annotated[dict[EapUser, Secret], AfterValidator(FrozenDict)]
CodePoint = Annotated[int, Field(ge=0, le=63)]
"""A DSCP (RFC 2474 3)."""
DscpMap = Annotated[
    dict[Annotated[str, AfterValidator(_code_point)], CodePoint],
    BeforeValidator(_keyed_by_text),
    AfterValidator(FrozenDict),
]
"""Inner code points and what they become outside."""
AhProposalText = Annotated[str, AfterValidator(_ah_proposal)]
EspProposalText = Annotated[str, AfterValidator(_esp_proposal)]
End = Annotated[str, StringConstraints(pattern=END_PATTERN)]
"""`node:interface`."""


class Directed(Model, Generic[T]):
    """One value for each direction of a link: `up` from its first end to its second, `down` back."""

    up: T
    down: T

    @model_validator(mode="before")
    @classmethod
    def _symmetric_unless_said(cls, data: object) -> object:
        directed = isinstance(data, dict) and not data.keys().isdisjoint({"up", "down"})
        return data if directed else {"up": data, "down": data}

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> object:
        both = handler(self)
        return both.get("up") if both.get("up") == both.get("down") else both

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        both = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [both["properties"]["up"], dict(both)]}
