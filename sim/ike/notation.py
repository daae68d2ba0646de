"""Messages in the notation of RFC 7296 1.2: "HDR, SAi1, KEi, Ni, N(NAT_DETECTION_SOURCE_IP)"."""

from __future__ import annotations

from sim.ike.constants import INITIAL, ExchangeType, NotifyType, PayloadType, name_of
from sim.ike.shapes import Shape, remembered

_SIDED: dict[int, str] = {PayloadType.KE: "KE", PayloadType.NONCE: "N", PayloadType.SA: "SA"}
_PLAIN: dict[int, str] = {
    PayloadType.ID_I: "IDi",
    PayloadType.ID_R: "IDr",
    PayloadType.TS_I: "TSi",
    PayloadType.TS_R: "TSr",
    PayloadType.AUTH: "AUTH",
    PayloadType.CERT: "CERT",
    PayloadType.CERTREQ: "CERTREQ",
    PayloadType.DELETE: "D",
    PayloadType.VENDOR: "V",
    PayloadType.CP: "CP",
    PayloadType.EAP: "EAP",
}
_SA_SUFFIX: dict[int, str] = {ExchangeType.IKE_SA_INIT: "1", ExchangeType.IKE_AUTH: "2"}


@remembered
def notation(shape: Shape, exchange: int, response: bool) -> str:
    """The payloads of a message of this shape; inside SK {...} unless it begins an IKE SA."""
    names = ", ".join([_name(kind, response, exchange) for kind in shape])
    if exchange in INITIAL:
        return f"HDR, {names}" if names else "HDR"
    return f"HDR, SK {{{names}}}"


def in_fragments(text: str, fragments: int) -> str:
    """The notation of a message that travels in several fragments (RFC 7383 2.5)."""
    return text if fragments == 1 else text.replace("SK {", "SKF {", 1)


def _name(shape: int, response: bool, exchange: int) -> str:
    notify_type, kind = divmod(shape, 256)
    if kind == PayloadType.NOTIFY:
        return f"N({name_of(NotifyType, notify_type)})"
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain
    sided = _SIDED.get(kind)
    if sided is None:
        return f"payload {kind}"
    suffix = _SA_SUFFIX.get(exchange, "") if kind == PayloadType.SA else ""
    return f"{sided}{'r' if response else 'i'}{suffix}"
