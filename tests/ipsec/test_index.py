"""An index over many policies finds what a look at each in turn finds (RFC 4301 4.4.1)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.ipsec.policy import Action, Policy, covers_both
from sim.ipsec.spd import Spd
from sim.ipsec.traffic import OPAQUE, UNEXAMINED, Traffic
from sim.wire.selector import ANY_PORTS, OPAQUE_PORTS, Selector

PORTS = [ANY_PORTS, OPAQUE_PORTS, (80, 80), (81, 81), (80, 90), (85, 99), (0, 2048), (2048, 2048)]


def _selector(net: int, first: int, last: int, protocol: int, ports: tuple[int, int]) -> Selector:
    low, high = sorted((first, last))
    return Selector(bytes([10, net, 0, low]), bytes([10, net, 0, high]), protocol, ports)


def _side(net: int) -> st.SearchStrategy[tuple[Selector, ...]]:
    octets = st.integers(0, 3)
    one = st.builds(
        _selector, st.just(net), octets, octets, st.sampled_from([0, 1, 6, 17]), st.sampled_from(PORTS)
    )
    return st.lists(one, min_size=1, max_size=2).map(tuple)


policies = st.builds(
    Policy, st.sampled_from(["a", "b", "c"]), st.sampled_from(Action), _side(1), _side(2), spi_in=st.just(0)
)
ports = st.sampled_from([0, 80, 81, 85, 95, 2048, 65535, OPAQUE])
kinds = st.tuples(st.sampled_from([6, 17, 50]), ports, ports) | st.tuples(
    st.just(1), ports, st.just(UNEXAMINED)
)


def _packet(src: int, dst: int, kind: tuple[int, int, int]) -> Traffic:
    return Traffic(bytes([10, 1, 0, src]), bytes([10, 2, 0, dst]), *kind)


packets = st.builds(_packet, st.integers(0, 3), st.integers(0, 3), kinds)


@settings(deadline=None)
@given(
    st.lists(policies, min_size=20, max_size=60),
    st.lists(st.integers(0, 59), max_size=20),
    st.lists(packets, min_size=20, max_size=40),
)
def test_the_first_of_many_policies_wins(
    added: list[Policy], removed: list[int], looked_up: list[Traffic]
) -> None:
    spd, model = Spd(lambda: None), list[Policy]()
    for policy in added:
        spd.add(policy)
        model.append(policy)
    _compare(spd, model, looked_up)  # makes the index, which later changes keep right
    for number in removed:
        if number % 3 and model:
            policy = model[number % len(model)]
            spd.remove(policy)
            model.remove(policy)  # of equal ones the first, too
        else:
            policy = added[number % len(added)]
            spd.add(policy, first=True)
            model.insert(0, policy)
        _compare(spd, model, looked_up[:3])
    _compare(spd, model, looked_up)


def _compare(spd: Spd, model: list[Policy], looked_up: list[Traffic]) -> None:
    assert list(spd) == model
    for packet in looked_up:
        src, dst, protocol, src_port, dst_port = packet
        expected = next((p for p in model if covers_both(packet, p.local_ts, p.remote_ts)), None)
        assert spd.outbound(packet) == expected
        back = Traffic(dst, src, protocol, dst_port, src_port)
        assert spd.inbound(back) == expected
