"""What configuration payloads give to one side of an IKE SA, and which attributes say it (RFC 7296 3.15).

INTERNAL_IP6_ADDRESS is an address and its prefix length, which is 128: the host alone. Networks of addresses
(RFC 5739) are not here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.ike.constants import ConfigAttributeType as Type
from sim.ike.constants import ConfigType
from sim.ike.events import VirtualIpAssigned, VirtualIpReleased
from sim.ike.message import Message
from sim.ike.payloads_cp import ConfigAttribute, CpPayload
from sim.ike.pool import Pool
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

MAX_ADDRESSES = 4
"""However many a peer asks for, it gets no more."""

VERSION = b"ipsec-sim"
_FULL_LENGTH = b"\x80"
_ADDRESS: dict[int, int] = {Type.INTERNAL_IP4_ADDRESS: 4, Type.INTERNAL_IP6_ADDRESS: 16}
_ADDRESS_TYPE = {4: Type.INTERNAL_IP4_ADDRESS, 16: Type.INTERNAL_IP6_ADDRESS}
_DNS: dict[int, int] = {Type.INTERNAL_IP4_DNS: 4, Type.INTERNAL_IP6_DNS: 16}
_ALSO_ASKED = {
    4: (Type.INTERNAL_IP4_NETMASK, Type.INTERNAL_IP4_DNS, Type.INTERNAL_IP4_SUBNET),
    16: (Type.INTERNAL_IP6_DNS, Type.INTERNAL_IP6_SUBNET),
}
_SUPPORTED = (
    *(Type.INTERNAL_IP4_ADDRESS, Type.INTERNAL_IP4_NETMASK, Type.INTERNAL_IP4_DNS, Type.INTERNAL_IP4_NBNS),
    *(Type.INTERNAL_IP4_DHCP, Type.APPLICATION_VERSION, Type.INTERNAL_IP6_ADDRESS, Type.INTERNAL_IP6_DNS),
    *(Type.INTERNAL_IP6_DHCP, Type.INTERNAL_IP4_SUBNET, Type.SUPPORTED_ATTRIBUTES, Type.INTERNAL_IP6_SUBNET),
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """`vips` are this host's if it asked (`ours`), else the peer's, as leases from `pools`, one for each."""

    ours: bool
    vips: tuple[bytes, ...]
    dns: tuple[bytes, ...] = ()
    pools: tuple[Pool, ...] = ()

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return tuple(map(Selector.host, self.vips))


def configuration_of(message: Message, kind: ConfigType) -> CpPayload | None:
    """The configuration payload of a kind; others in the message do not count."""
    found = (payload for payload in message.payloads if isinstance(payload, CpPayload))
    return next((payload for payload in found if payload.type == kind), None)


def request_for(wanted: Sequence[bytes]) -> CpPayload:
    """A request for these addresses; an unspecified one asks for any of its family."""
    addresses = [ConfigAttribute(_ADDRESS_TYPE[len(address)], _requested(address)) for address in wanted]
    families = dict.fromkeys(map(len, wanted))
    also = [ConfigAttribute(kind) for family in families for kind in _ALSO_ASKED[family]]
    return CpPayload(ConfigType.CFG_REQUEST, (*addresses, *also))


def asked_for(attributes: Iterable[ConfigAttribute]) -> list[bytes]:
    """The addresses that a request is for, unspecified where any will do (RFC 7296 3.15.1)."""
    sized = [(each.value, _ADDRESS[each.type]) for each in attributes if each.type in _ADDRESS]
    found = (value[:size] or bytes(size) for value, size in sized if not value or len(value) >= size)
    return list(found)[:MAX_ADDRESSES]


def reply_with(configuration: Configuration | None, attributes: Sequence[ConfigAttribute]) -> CpPayload:
    """The answer to a request for these attributes; those that are not known are left out."""
    reply = list(_leased(configuration)) if configuration is not None else []
    asked = {attribute.type for attribute in attributes}
    if Type.APPLICATION_VERSION in asked:
        reply.append(ConfigAttribute(Type.APPLICATION_VERSION, VERSION))
    if Type.SUPPORTED_ATTRIBUTES in asked:
        supported = b"".join(kind.to_bytes(2, "big") for kind in _SUPPORTED)
        reply.append(ConfigAttribute(Type.SUPPORTED_ATTRIBUTES, supported))
    return CpPayload(ConfigType.CFG_REPLY, tuple(dict.fromkeys(reply)))


def read_reply(reply: CpPayload, wanted: Sequence[bytes], own: Sequence[bytes]) -> Configuration:
    """What a peer assigns: no more of a family than was asked for, and nothing that a host cannot have."""
    vips: list[bytes] = []
    for attribute in reply.attributes:
        size = _ADDRESS.get(attribute.type, 0)
        address = attribute.value[:size]
        if size and len(address) == size and _is_usable(address) and address not in (*own, *vips):
            room = sum(len(each) == len(address) for each in wanted)
            if sum(len(each) == len(address) for each in vips) < room:
                vips.append(address)
    dns = [a.value for a in reply.attributes if len(a.value) == _DNS.get(a.type)]
    return Configuration(True, tuple(vips), tuple(dns))


def assign(sa: IkeSa, configuration: Configuration) -> None:
    """From now on, until the IKE SA ends, these addresses are this host's or the peer's."""
    sa.configuration = configuration
    if configuration.ours:
        sa.ctx.remembered[sa.connection.name] = configuration.vips
    for vip in configuration.vips:
        sa.ctx.virtual[sa.connection.name, vip] = sa
        sa.ctx.emit(
            VirtualIpAssigned(
                sa.ike_id, sa.connection.name, configuration.ours, vip, str(sa.remote_id), configuration.dns
            )
        )


def inherit_configuration(new: IkeSa, old: IkeSa) -> None:
    """The IKE SA is rekeyed: addresses stay (RFC 7296 2.8)."""
    new.configuration, old.configuration = old.configuration, None
    for vip in new.configuration.vips if new.configuration is not None else ():
        new.ctx.virtual[new.connection.name, vip] = new


def release(sa: IkeSa) -> None:
    """The IKE SA ends, and with it the use of addresses, but of those that its successor has by now."""
    configuration, sa.configuration = sa.configuration, None
    if configuration is None:
        return
    for pool, vip in zip(configuration.pools, configuration.vips, strict=False):
        pool.release(vip)
    for vip in configuration.vips:
        if sa.ctx.virtual.get((sa.connection.name, vip)) is sa:
            del sa.ctx.virtual[sa.connection.name, vip]
            ours, peer = configuration.ours, str(sa.remote_id)
            sa.ctx.emit(VirtualIpReleased(sa.ike_id, sa.connection.name, ours, vip, peer))


def _requested(address: bytes) -> bytes:
    if not any(address):
        return b""
    return address if len(address) == 4 else address + _FULL_LENGTH


def _leased(configuration: Configuration) -> Iterator[ConfigAttribute]:
    for vip in configuration.vips:
        value = vip if len(vip) == 4 else vip + _FULL_LENGTH
        yield ConfigAttribute(_ADDRESS_TYPE[len(vip)], value)
    for pool in configuration.pools:
        yield from pool.config.attributes


def _is_usable(address: bytes) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_unspecified or parsed.is_multicast or parsed.is_loopback or parsed.is_link_local)
