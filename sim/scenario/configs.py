"""From a scenario's connections to what an IKE endpoint is configured with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim.ike.config import (
    RETRANSMIT,
    ChildConfig,
    Childless,
    ConnectionConfig,
    EndpointConfig,
    Fragmentation,
    PerCpuSas,
    RedirectWhen,
    ReturnRoutability,
    SharedNat,
    Shunt,
    StartAction,
    Unique,
)
from sim.ike.constants import ProtocolId
from sim.ike.eap.methods import eap_name
from sim.ike.identity import Identity
from sim.ike.proposals import parse_proposal
from sim.scenario.credentials import CredentialError, local_auth, remote_auth
from sim.scenario.pools import pool_config
from sim.scenario.schema import Connection, ConnectionChild, GatewayNode, HostNode, Pool, Scenario
from sim.scenario.schema_iptfs import IptfsSettings
from sim.wire.address import pack_address
from sim.wire.esp import Mode
from sim.wire.handling import Handling
from sim.wire.iptfs import Iptfs
from sim.wire.outer_fields import CopyDscp, FlowLabel, OuterFields
from sim.wire.selector import Selector

_ANYWHERE = (Selector.from_prefix("0.0.0.0/0"), Selector.from_prefix("::/0"))
_DPD_ACTION = {"clear": StartAction.NONE, "trap": StartAction.TRAP, "restart": StartAction.START}


class ConfigError(ValueError):
    """Something that only shows when put to use; `path` leads to the setting, from the connections on."""

    def __init__(self, path: tuple[str, ...], text: str) -> None:
        super().__init__(text)
        self.path = path


def endpoint_config(
    connections: Mapping[str, Connection],
    pools: Mapping[str, Pool] | None = None,
    *,
    discards: bool = False,
    cpus: int = 1,
) -> EndpointConfig:
    """One node's connections and pools, by name; `discards` is for what no policy of it matches.

    `cpus` share what has `per_cpu_sas`.
    """
    return EndpointConfig(
        tuple(connection_config(name, conn) for name, conn in connections.items() if conn.negotiated),
        shunts=tuple(shunts(connections)),
        discard_by_default=discards,
        pools=tuple(pool_config(name, pool) for name, pool in (pools or {}).items()),
        cpus=cpus,
    )


def cpus_of(scenario: Scenario, node: str) -> int:
    model = scenario.nodes[node]
    return model.cpus if isinstance(model, HostNode | GatewayNode) else 1


def connection_config(name: str, connection: Connection) -> ConnectionConfig:
    """ConfigError tells which certificate or key is wrong."""
    over_time = connection.rekey_time // 10 if connection.over_time is None else connection.over_time
    try:
        remote = remote_auth(connection.remote)
        local = local_auth(connection.local, remote.trust.anchors)
    except CredentialError as error:
        raise ConfigError((name, *error.path), str(error)) from None
    return ConnectionConfig(
        name=name,
        psk=connection.psk or b"",
        proposals=tuple(parse_proposal(text, ProtocolId.IKE) for text in connection.proposals),
        children=tuple(child_config(child, conf) for child, conf in connection.negotiated.items()),
        local_addrs=tuple(map(pack_address, connection.local_addrs)),
        remote_addrs=tuple(map(pack_address, connection.remote_addrs)),
        remote_port=connection.remote_port,
        vips=tuple(map(pack_address, connection.vips)),
        pools=connection.pools,
        local_id=_identity(connection.local_id),
        remote_id=_identity(connection.remote_id),
        mobike=connection.mobike,
        encap=connection.encap,
        dpd_delay=connection.dpd_delay,
        keepalive=connection.keep_alive,
        retransmit=RETRANSMIT[connection.retransmit],
        return_routability=ReturnRoutability(connection.return_routability),
        nat_traversal=connection.nat_traversal,
        unique=Unique(connection.unique),
        childless=Childless(connection.childless),
        keyingtries=connection.keyingtries,
        window=connection.window,
        dscp=connection.dscp,
        keepalive_adaptive=connection.keepalive_policy == "adaptive",
        keepalive_max=connection.keepalive_max,
        radio_tail=connection.radio_tail,
        resumption=connection.resumption,
        qcd=connection.qcd,
        follow_redirects=connection.follow_redirects,
        redirect_to=b"" if connection.redirect_to is None else pack_address(connection.redirect_to),
        redirect_when=RedirectWhen(connection.redirect_when),
        reauth_time=connection.reauth_time,
        make_before_break=connection.make_before_break,
        fragmentation=Fragmentation(connection.fragmentation),
        fragment_size=connection.fragment_size,
        ppk=connection.ppk or b"",
        ppk_id=b"" if connection.ppk_id is None else _name(connection.ppk_id),
        ppk_required=connection.ppk_required,
        rekey_time=connection.rekey_time,
        over_time=over_time,
        rand_time=min(
            connection.rekey_time, over_time if connection.rand_time is None else connection.rand_time
        ),
        local=local,
        remote=remote,
        eap_secrets={
            eap_name(identity): secret
            for name, secret in connection.eap_secrets.items()
            if (identity := Identity.parse(name)) is not None
        },
    )


def shunts(connections: Mapping[str, Connection]) -> Iterator[Shunt]:
    """Policies that bypass or discard; `dynamic` stands for any address in them, as in strongSwan."""
    for connection, conf in connections.items():
        for name, child in conf.shunts.items():
            yield Shunt(
                f"{connection}/{name}",
                child.mode == "pass",
                child.local_ts or _ANYWHERE,
                child.remote_ts or _ANYWHERE,
                child.priority,
            )


def child_config(name: str, child: ConnectionChild) -> ChildConfig:
    return ChildConfig(
        name=name,
        esp_proposals=tuple(parse_proposal(text, ProtocolId.ESP) for text in child.esp_proposals),
        ah_proposals=tuple(parse_proposal(text, ProtocolId.AH) for text in child.ah_proposals),
        mode=Mode(child.mode),
        local_ts=child.local_ts,
        remote_ts=child.remote_ts,
        start=StartAction(child.start_action),
        replay_window=child.replay_window,
        copy_df=child.copy_df,
        iptfs=_iptfs(child.iptfs),
        outer=_outer_fields(child),
        shared_nat=SharedNat(child.shared_nat),
        handling=_handling(child),
        close_action=StartAction(child.close_action),
        dpd_action=_DPD_ACTION[child.dpd_action],
        ipcomp=child.ipcomp,
        priority=child.priority,
        populate=child.populate_from_packet,
        fragments=child.non_first_fragments_also,
        per_cpu_sas=PerCpuSas(child.per_cpu_sas),
        **_limits(child, "time"),
        **_limits(child, "bytes"),
        **_limits(child, "packets"),
    )


def _outer_fields(child: ConnectionChild) -> OuterFields:
    return OuterFields(
        copy_dscp=CopyDscp(child.copy_dscp),
        copy_ecn=child.copy_ecn,
        dscp=child.outer_dscp,
        dscp_map=tuple(sorted((int(inner), outer) for inner, outer in child.dscp_map.items())),
        ttl=child.outer_ttl,
        flow_label=FlowLabel(child.flow_label),
    )


def _handling(child: ConnectionChild) -> Handling:
    return Handling(
        df=child.df == "set",
        fragment_before=child.fragment == "before",
        icmp=child.icmp,
        icmp_check=child.icmp_check,
        mss_clamp=child.mss_clamp,
        tfc_padding=child.tfc_padding,
    )


def _iptfs(settings: IptfsSettings) -> Iptfs:
    plain: dict[str, Any] = {key: 0 if value is None else value for key, value in settings}
    return Iptfs(**plain)


def _limits(child: ConnectionChild, unit: str) -> dict[str, Any]:
    """Soft limit, hard limit and jitter, with strongSwan's defaults: 10 % more, and as much earlier."""
    soft, hard, rand = (getattr(child, f"{name}_{unit}") for name in ("rekey", "life", "rand"))
    hard = soft * 11 // 10 if hard is None else hard
    rand = max(0, hard - soft) if rand is None else rand
    return {f"rekey_{unit}": soft, f"life_{unit}": hard, f"rand_{unit}": rand}


def _name(text: str) -> bytes:
    """The octets of a PPK's name, which strongSwan reads like an identity's."""
    identity = Identity.parse(text)
    return b"" if identity is None else identity.data


def _identity(text: str | None) -> Identity | None:
    return None if text is None else Identity.parse(text)
