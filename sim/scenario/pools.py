"""From the pools of a scenario to those of an IKE endpoint: attributes in octets (RFC 7296 3.15.1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from sim.ike.constants import ConfigAttributeType as Type
from sim.ike.payloads_cp import ConfigAttribute
from sim.ike.pool import PoolConfig
from sim.scenario.schema_pools import Pool, pool_range
from sim.wire.address import pack_address

_DNS = {4: Type.INTERNAL_IP4_DNS, 16: Type.INTERNAL_IP6_DNS}
_DHCP = {4: Type.INTERNAL_IP4_DHCP, 16: Type.INTERNAL_IP6_DHCP}
_NBNS = {4: Type.INTERNAL_IP4_NBNS}
_NETMASK = {4: Type.INTERNAL_IP4_NETMASK}


def pool_config(name: str, pool: Pool) -> PoolConfig:
    first, last = pool_range(pool.addrs)
    attributes = (
        *_addresses(_NETMASK, () if pool.netmask is None or len(first) == 16 else (pool.netmask,)),
        *_addresses(_DNS, pool.dns),
        *_addresses(_NBNS, pool.nbns),
        *_addresses(_DHCP, pool.dhcp),
        *map(_subnet, pool.subnet),
    )
    return PoolConfig(name, first, last, attributes)


def _addresses(types: dict[int, Type], texts: Iterable[str]) -> Iterator[ConfigAttribute]:
    for address in map(pack_address, texts):
        yield ConfigAttribute(types[len(address)], address)


def _subnet(text: str) -> ConfigAttribute:
    """An IPv4 network has a netmask, one of IPv6 the length of its prefix in one octet."""
    network = ipaddress.ip_network(text)
    address = network.network_address.packed
    if network.version == 4:
        return ConfigAttribute(Type.INTERNAL_IP4_SUBNET, address + network.netmask.packed)
    return ConfigAttribute(Type.INTERNAL_IP6_SUBNET, address + bytes((network.prefixlen,)))
