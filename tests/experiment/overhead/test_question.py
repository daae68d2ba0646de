"""What may be asked, and what is said to what may not."""

from __future__ import annotations

import pytest

from sim.experiment.overhead import OverheadError, study_of
from sim.experiment.overhead.sizes import parse_sizes
from sim.experiment.overhead.study import Column

REFUSED: dict[str, dict[str, object]] = {
    "did you mean aes128gcm16": {"suites": "aes128gmc16"},
    "alone is for AH": {"suites": "sha256"},
    "AH takes one integrity algorithm": {"suites": "aes128gcm16", "protocols": "ah"},
    "an AEAD cipher takes no integrity": {"suites": "aes128gcm16-sha256"},
    "offers a choice": {"suites": "aes128-sha1-sha256"},
    "none of the protocols asked for takes a suite": {"suites": "aes128gcm16", "protocols": "tls"},
    "cannot be implicit": {"suites": "aes256-sha256", "implicit_iv": True},
    "is not supported yet": {"suites": "aes128-md5"},
    "did you mean 'esp'": {"protocols": "esq"},
    "did you mean 'tunnel'": {"modes": "tunel"},
    "it knows udp, tcp, icmp, raw": {"inner": "sctp"},
    "AH cannot pass a NAT": {"protocols": "ah", "natt": True},
    "WireGuard has no choice of NAT-T": {"protocols": "wireguard", "natt": True},
    "TLS VPN has no choice of mode": {"protocols": "tls", "modes": "tunnel"},
    "plain IP has no choice of ESN": {"protocols": "plain", "esn": True},
    "TLS VPN has no choice of IPComp": {"protocols": "tls", "ipcomp": True},
    "undo each other": {"tfc": 1000, "ipcomp": True},
    "stands behind a whole packet": {"tfc": 1000, "modes": "transport"},
    "inside ESP, whose header": {"tfc": 1000, "protocols": "ah"},
    "give a size in octets, or mtu": {"tfc": "big"},
    "WireGuard has no choice of TFC padding": {"tfc": "mtu", "protocols": "wireguard"},
    "IP-TFS always carries whole packets": {"protocols": "iptfs", "modes": "tunnel"},
    "IP-TFS compresses nothing": {"protocols": "iptfs", "ipcomp": True},
    "take ESP in tunnel mode": {"protocols": "iptfs", "tfc": 1000},
    "changes nothing without IPComp": {"payload": "zeros"},
    "did you mean 'zeros'": {"payload": "zeroes", "ipcomp": True},
    "nothing is around plain IP": {"protocols": "plain", "outer": 6},
    "transport mode keeps the packet's own IPv4 header": {"modes": "transport", "outer": 6},
    "no IP version 5 around": {"outer": 5},
    "there is no IP version 7": {"ip": 7},
    "ask for 28 or more, or for --inner raw": {"sizes": 20},
    "ask for 48 or more": {"sizes": 47, "ip": 6},
    "at most 65535": {"sizes": 70_000},
    "an MTU of 20 bytes: with IPv4 it is 68 to 65535": {"mtu": 20},
    "with IPv6 it is 1280 to 65535": {"mtu": 1279, "outer": 6},
    "AH has no IV to be implicit": {"protocols": "ah", "implicit_iv": True},
    "a record holds 16384": {"protocols": "tls", "sizes": 16_385},
    "has no unit": {"rate": "100"},
    "it is at least 1": {"rate": 0},
    "0 or more, 38 for Ethernet": {"framing": -1},
    "cannot carry 65530 bytes: too big to encapsulate": {"sizes": 65_530},
    "no size at all": {"sizes": []},
    "are no sizes": {"sizes": "40-1500"},
}


@pytest.mark.parametrize("said", REFUSED)
def test_bad_questions_are_refused_with_a_remedy(said: str) -> None:
    with pytest.raises(OverheadError) as refusal:
        ask(**REFUSED[said])
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("1400", (1400,)),
        ("64,576, 1400", (64, 576, 1400)),
        ("40..43", (40, 41, 42, 43)),
        ("40..100:20", (40, 60, 80, 100)),
        ("40..42,1400,41", (40, 41, 42, 1400)),
    ],
)
def test_sizes_are_lists_and_ranges_with_steps(text: str, sizes: tuple[int, ...]) -> None:
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "a", "1..", "..5", "50..40", "40..50:0", "1,,2", "40...50", "0..70000"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OverheadError):
        parse_sizes(text)


def test_everything_asked_for_is_combined() -> None:
    found = labels(suites=["aes128gcm16", "aes256-sha256"], modes=["tunnel", "transport"], natt=[False, True])
    assert len(found) == len(set(found)) == 8


def test_a_suite_goes_with_each_protocol_that_takes_it() -> None:
    found = labels(suites=["aes128gcm16", "aes256-sha256", "sha1"], protocols=["esp", "ah"])
    assert found == [
        "ESP tunnel aes128gcm16, IPv4",
        "ESP tunnel aes256-sha256, IPv4",
        "AH tunnel sha256, IPv4",
        "AH tunnel sha1, IPv4",
    ]


def test_a_group_and_other_spellings_change_nothing() -> None:
    assert labels(suites=["aes128gcm128-x25519", "aes128gcm16"]) == ["ESP tunnel aes128gcm16, IPv4"]


def test_a_comparison_of_nothing_named_has_suites_and_rivals() -> None:
    found = labels(compare=True)
    titles = (
        "plain IP",
        "ESP tunnel",
        "AH tunnel",
        "GRE over ESP",
        "L2TP over ESP",
        "IP-TFS",
        "WireGuard",
        "TLS VPN",
    )
    assert all(any(label.startswith(title) for label in found) for title in titles)
    assert not [label for label in labels(compare=True, natt=True) if label.startswith("AH")]


def ask(**question: object) -> None:
    study = study_of(**question)  # type: ignore[arg-type]
    study.columns[0].cell(study.sizes[0])


def labels(**question: object) -> list[str]:
    found = study_of(**question)  # type: ignore[arg-type]
    return [one.variant.label for one in found.columns]


def test_the_longest_packets_have_no_successor_and_no_jump() -> None:
    (plain,) = study_of(protocols="plain").columns
    assert plain.cell(65_535).added == 0
    assert plain.jumps(65_530, 65_535) == []
    (esp,) = study_of().columns
    longest = max(size for size in range(65_400, 65_536) if not raises(esp, size))
    assert longest in range(65_470, 65_490)
    assert esp.jumps(longest, longest) == []


def test_a_comparison_of_nothing_named_hears_the_modes() -> None:
    found = labels(compare=True, modes="transport")
    assert "ESP transport aes128gcm16, IPv4" in found
    assert not [label for label in found if "ESP tunnel" in label]


def raises(column: Column, size: int) -> bool:
    try:
        column.wire(size)
    except OverheadError:
        return True
    return False


@pytest.mark.parametrize(
    "option", [{"tfc": 1000}, {"ipcomp": True}, {"natt": True}, {"esn": True}, {"ip": 6}]
)
def test_every_option_goes_with_a_comparison_of_nothing_named(option: dict[str, object]) -> None:
    """The usual variants can all be made with it, plain IP among them, and none is refused."""
    study = study_of(compare=True, **option)  # type: ignore[arg-type]
    size = study.sizes[0]
    found = [column.wire(size) for column in study.columns]
    assert size in found
    assert max(found) > size
