"""Pairs of endpoints that use a part of IKE each, from a seed: what they say is fuzzed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from unittest.mock import patch

from sim.ike.channel import Channel, Encoded
from sim.ike.config import EndpointConfig, PerCpuSas
from sim.ike.constants import ExchangeType
from sim.ike.endpoint import IkeEndpoint
from sim.ike.message import Header, emit_message
from sim.ike.payloads import Payload
from tests.crypto.authority import make_ca, make_leaf
from tests.ike.pair import CONNECTION_A, CONNECTION_B, End, Pair, esp, ike
from tests.ike.test_configuration import ANY4, ANY6, GIVES, V4, V6, WANTS
from tests.ike.test_eap import initiator, responder
from tests.ike.test_pubkey import CERT_A, CERT_B, ROOT, local

Make = Callable[[str], Pair]

_DEEP = make_leaf(make_ca(ROOT), "O=Example, CN=alice", names=["alice@example.org"])


def plain_pair(seed: str) -> Pair:
    return Pair(seed=seed)


def large_pair(seed: str) -> Pair:
    """Additional key exchanges, in small fragments, and perhaps a PPK."""
    draw = random.Random(seed)
    suite = "aes128gcm16-prfsha256-x25519-ke1_ecp256" + draw.choice(("", "-ke2_ecp384"))
    child = draw.choice(("aes128gcm16-x25519-ke1_ecp256", "aes128gcm16-x25519-ke1_ecp256-ke2_ecp384"))
    size, secret = draw.choice((200, 300, 1280)), draw.choice((b"", b"a secret"))
    ours, theirs = (
        replace(
            connection,
            proposals=ike(suite),
            children=(replace(connection.children[0], esp_proposals=esp(child)),),
            fragment_size=size,
            ppk=secret,
            ppk_id=secret,
        )
        for connection in (CONNECTION_A, CONNECTION_B)
    )
    return Pair(ours, theirs, seed=seed)


def proven_pair(seed: str) -> Pair:
    """Certificates on both sides, one of them with an intermediate CA, whole or in fragments."""
    draw = random.Random(seed)
    size = draw.choice((300, 1280))
    ours = replace(CERT_A, local=local(_DEEP)) if draw.random() < 0.5 else CERT_A
    return Pair(replace(ours, fragment_size=size), replace(CERT_B, fragment_size=size), seed=seed)


def eap_pair(seed: str) -> Pair:
    """A password by EAP against a certificate, by either method; the name is asked for."""
    method = random.Random(seed).choice(("eap-mschapv2", "eap-md5"))
    return Pair(initiator(method), responder(method), seed=seed)


def leased_pair(seed: str) -> Pair:
    """Configuration payloads: a virtual IP, or one of each family."""
    wants = replace(WANTS, vips=random.Random(seed).choice(((ANY4,), (ANY4, ANY6))))
    return Pair(wants, GIVES, b_config=EndpointConfig((GIVES,), pools=(V4, V6)), seed=seed)


def shared_pair(seed: str) -> Pair:
    """IPComp, and Child SAs for single CPUs beside the one for all."""
    wanted = random.Random(seed).choice(tuple(PerCpuSas))
    ours, theirs = (
        replace(connection, children=(replace(connection.children[0], ipcomp=True, per_cpu_sas=wanted),))
        for connection in (CONNECTION_A, CONNECTION_B)
    )
    return Pair(ours, theirs, a_config=EndpointConfig(cpus=4), seed=seed)


def returning_pair(seed: str) -> Pair:
    """Crash detection, redirection and tickets: a client that comes for the first time, or with a ticket."""
    draw = random.Random(seed)
    ours, theirs = (
        replace(connection, qcd=True, resumption=True, follow_redirects=True)
        for connection in (CONNECTION_A, CONNECTION_B)
    )
    pair = Pair(ours, theirs, seed=seed)
    if draw.random() < 0.5:
        before = Pair(ours, theirs, seed=f"before{seed}").establish()
        pair.a.endpoint._ctx.tickets.update(before.a.endpoint._ctx.tickets)
        pair.b.endpoint._ctx.ticket_key = before.b.endpoint._ctx.ticket_key
    return pair


MAKERS: tuple[Make, ...] = (
    *(plain_pair, large_pair, proven_pair, eap_pair, leased_pair, shared_pair),
    returning_pair,
)


def said_by(make: Make, seed: str = "said") -> tuple[list[bytes], list[bytes]]:
    """What both ends say while they set up, rekey and end an SA: as sent, and as before it was encrypted."""
    pair, clear, original = make(seed), list[bytes](), Channel.encode

    def encode(
        channel: Channel, exchange: ExchangeType, message_id: int, response: bool, payloads: Sequence[Payload]
    ) -> Encoded:
        sa = channel._sa
        flags = 0x20 * response + 0x08 * sa.initiator
        clear.append(emit_message(Header(sa.spi_i, sa.spi_r, exchange, flags, message_id), payloads))
        return original(channel, exchange, message_id, response, payloads)

    with patch.object(Channel, "encode", encode):
        pair.establish()
        (sa,) = pair.a.endpoint.sas
        tell(pair, pair.a, lambda endpoint: endpoint.rekey(next(iter(pair.a.children)), pair.now))
        tell(pair, pair.b, lambda endpoint: endpoint.rekey_ike(sa.ike_id, pair.now))
        tell(pair, pair.a, lambda endpoint: endpoint.delete("rw", pair.now))
    return pair.octets("a") + pair.octets("b"), clear


def tell(pair: Pair, end: End, act: Callable[[IkeEndpoint], None]) -> None:
    pair.command(end, act)
    pair.settle()
