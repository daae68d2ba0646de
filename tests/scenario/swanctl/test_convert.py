"""swanctl.conf(5) becomes connections with strongSwan's meaning; the rest is told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.ike.identity import Identity
from sim.scenario.errors import ScenarioError
from sim.scenario.schema import Connection
from sim.scenario.schema_pools import Pool
from sim.scenario.swanctl import SwanctlConfig, read
from sim.units import NS_PER_S
from sim.wire.handling import TO_MTU
from sim.wire.selector import Selector

BASE = """\
connections {
  rw {
    local { auth = psk
      id = alice
    }
    remote { auth = psk
      id = moon
    }
    remote_addrs = 192.0.2.1
    CONNECTION
    children {
      net { CHILD
      }
    }
  }
}
secrets {
  ike { secret = hidden
    SECRET
  }
}
"""
_PRFS_AND_GROUPS = (
    "prfsha256-prfsha384-prfsha512-prfaesxcbc-prfaescmac-prfsha1-x25519-x448-ecp256-ecp384-ecp521"
    "-ecp256bp-ecp384bp-ecp512bp-modp3072-modp4096-modp6144-modp8192-modp2048"
)
DEFAULT_IKE = (
    "aes128-aes192-aes256-aes128ctr-aes192ctr-aes256ctr-3des-sha256-sha384-sha512-sha1-aesxcbc-aescmac"
    f"-{_PRFS_AND_GROUPS}",
    "aes128gcm16-aes192gcm16-aes256gcm16-aes128ccm16-aes192ccm16-aes256ccm16-chacha20poly1305"
    "-aes128gcm12-aes192gcm12-aes256gcm12-aes128gcm8-aes192gcm8-aes256gcm8"
    f"-aes128ccm12-aes192ccm12-aes256ccm12-aes128ccm8-aes192ccm8-aes256ccm8-{_PRFS_AND_GROUPS}",
)
DEFAULT_ESP = (
    "aes128gcm16-aes192gcm16-aes256gcm16",
    "aes128-aes192-aes256-sha256-sha384-sha512-sha1-aesxcbc",
)


def test_absent_keys_have_the_defaults_of_strongswan(tmp_path: Path) -> None:
    config = _read(tmp_path)
    connection = config.connections["rw"]
    child = connection.children["net"]
    assert config.warnings == []
    assert connection.proposals == DEFAULT_IKE
    assert (connection.mobike, connection.encap, connection.dpd_delay) == (True, False, 0)
    assert (connection.keep_alive, connection.retransmit) == (20 * NS_PER_S, "strongswan")
    assert (connection.fragmentation, connection.fragment_size) == ("yes", 1280)
    assert (connection.local_addrs, connection.remote_addrs) == ((), ("192.0.2.1",))
    assert (connection.local_id, connection.remote_id, connection.psk) == ("alice", "moon", b"hidden")
    assert child.esp_proposals == DEFAULT_ESP
    assert (child.mode, child.local_ts, child.remote_ts) == ("tunnel", (), ())
    assert (child.start_action, child.replay_window, child.copy_df) == ("none", 32, True)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("mobike = no", "mobike", False),
        ("mobike = Disabled", "mobike", False),
        ("encap = 1", "encap", True),
        ("remote_port = 14500", "remote_port", 14500),
        ("remote_port = 500", "remote_port", 500),
        ("local_port = 4500", "remote_port", 500),
        ("fragmentation = no", "fragmentation", "no"),
        (
            "proposals = aes256gcm16-prfsha384-x25519-ke1_mlkem768",
            "proposals",
            ("aes256gcm16-prfsha384-x25519-ke1_mlkem768",),
        ),
        ("fragmentation = Accept", "fragmentation", "accept"),
        ("fragmentation = force", "fragmentation", "force"),
        ("fragmentation = 1", "fragmentation", "yes"),
        ("dpd_delay = 30", "dpd_delay", 30 * NS_PER_S),
        ("rekey_time = 0", "rekey_time", 0),
        ("reauth_time = 3h", "reauth_time", 10800 * NS_PER_S),
        ("unique = replace", "unique", "replace"),
        ("childless = prefer", "childless", "prefer"),
        ("keyingtries = 0", "keyingtries", 0),
        ("keyingtries = %forever", "keyingtries", 0),
        ("over_time = 1h", "over_time", 3600 * NS_PER_S),
        ("rand_time = 2m", "rand_time", 120 * NS_PER_S),
        ("dpd_delay = 2 m", "dpd_delay", 120 * NS_PER_S),
        ("local_addrs = 192.0.2.9, 2001:DB8::1", "local_addrs", ("192.0.2.9", "2001:db8::1")),
        ("local_addrs = %any", "local_addrs", ()),
        ("proposals = aes256-sha256-modp2048", "proposals", ("aes256-sha256-modp2048",)),
        ("proposals = default", "proposals", DEFAULT_IKE),
        ("proposals = aes128gcm16-sha256-x25519", "proposals", ("aes128gcm16-x25519-prfsha256",)),
        ("version = 2", "mobike", True),
        ("fragmentation = no", "mobike", True),
    ],
)
def test_settings_of_a_connection(line: str, key: str, value: object, tmp_path: Path) -> None:
    config = _read(tmp_path, connection=line)
    assert getattr(config.connections["rw"], key) == value
    assert config.warnings == []


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("mode = TRANSPORT", "mode", "transport"),
        ("local_ts = dynamic", "local_ts", ()),
        ("remote_ts = 10.1.0.0/16", "remote_ts", (Selector.from_prefix("10.1.0.0/16"),)),
        (
            "remote_ts = 10.1.0.5/16[tcp/http],10.2.0.1[/53]",
            "remote_ts",
            (Selector.from_prefix("10.1.0.0/16", 6, (80, 80)), Selector.from_prefix("10.2.0.1", 0, (53, 53))),
        ),
        ("esp_proposals = aes256-sha1-none", "esp_proposals", ("aes256-sha1-modpnone",)),
        ("esp_proposals = aes256gcm16-sha256-prfsha256", "esp_proposals", ("aes256gcm16",)),
        ("esp_proposals = chacha20poly1305-esn, default", "esp_proposals",
         ("chacha20poly1305-esn", *DEFAULT_ESP)),
        ("ah_proposals = sha256-esn", "ah_proposals", ("sha256-esn",)),
        ("ah_proposals = sha256-esn", "esp_proposals", ()),
        ("ah_proposals = default", "ah_proposals", ("sha256-sha384-sha512-sha1-aesxcbc",)),
        ("ah_proposals = aes128-sha384-aes256gmac", "ah_proposals", ("sha384-aes256gmac",)),
        ("start_action = route", "start_action", "trap"),
        ("start_action = start", "start_action", "start"),
        ("replay_window = 128", "replay_window", 128),
        ("copy_df = no", "copy_df", False),
        ("tfc_padding = mtu", "tfc_padding", TO_MTU),
        ("tfc_padding = 1000", "tfc_padding", 1000),
        ("tfc_padding = 0", "tfc_padding", 0),
        ("ipcomp = yes", "ipcomp", True),
        ("per_cpu_sas = yes", "per_cpu_sas", "yes"),
        ("per_cpu_sas = encap", "per_cpu_sas", "encap"),
        ("copy_dscp = in", "copy_dscp", "in"),
        ("copy_ecn = no", "copy_ecn", False),
        ("dpd_action = clear", "dpd_action", "clear"),
        ("dpd_action = restart", "dpd_action", "restart"),
        ("dpd_action = trap", "dpd_action", "trap"),
        ("close_action = start", "close_action", "start"),
        ("rekey_time = 10m", "rekey_time", 600 * NS_PER_S),
        ("life_time = 3h", "life_time", 10800 * NS_PER_S),
        ("rand_time = 5", "rand_time", 5 * NS_PER_S),
    ],
)  # fmt: skip
def test_settings_of_a_child(line: str, key: str, value: object, tmp_path: Path) -> None:
    config = _read(tmp_path, child=line)
    assert getattr(config.connections["rw"].children["net"], key) == value
    assert config.warnings == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("proposals = aes256-sha256-md5-ecp224-modp2048", "proposals: md5, ecp224 of the proposal"),
        ("proposals = aes256-sha256-ecp192, aes256-sha256-modp2048", "aes256-sha256-ecp192 is left out"),
        (
            "proposals = aes256-sha256-ecp256-ke1_mlkem512, default",
            "ke1_mlkem512 is left out: ke1_mlkem512 not supported yet",
        ),
        ("proposals = aes256-sha256-modp1536", "proposals: modp1536 is weak: SHOULD NOT be used for IKE"),
        ("send_cert = never", "send_cert: ignored: auth = psk sends none"),
        ("children { other { hw_offload = auto } }", "hw_offload: ignored: there is no such hardware"),
        ("proposals = camellia256-sha256-modp2048, default", "is left out: camellia256 not supported yet"),
    ],
)
def test_what_changes_nothing_on_the_wire_is_a_warning(line: str, words: str, tmp_path: Path) -> None:
    (warning,) = _read(tmp_path, connection=line).warnings
    assert str(warning).startswith(f"{tmp_path}/swanctl.conf:10: connections.rw.")
    assert words in str(warning)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("version = 1", "only IKEv2 is supported"),
        ("vips = gateway.example", "'gateway.example' is no address"),
        ("pools = p", "there is no pool `p`"),
        ("childless = forced", "'forced' is not one of allow, prefer, force, never"),
        ("unique = yes", "'yes' is not one of no, never, keep, replace"),
        ("mobkie = no", "unknown key; did you mean `mobike`?"),
        ("mobike = perhaps", "neither yes nor no"),
        ("dpd_delay = 3x", "is no time"),
        ("local_addrs = gateway.example", "write single addresses"),
        ("local_addrs = 10.0.0.0/8", "write single addresses"),
        ("proposals = aes265-sha256-modp2048", "'aes265' is no algorithm"),
        ("proposals = aes256-md5-ecp192", "nothing is supported yet: "),
        (
            "proposals = aes256gcm16-sha512-curve25519-ke1_mlkem512",
            "is left out: ke1_mlkem512 not supported yet",
        ),
        ("remote-2 { auth = psk }", "a second round"),
        ("locl { auth = psk }", "unknown section"),
    ],
)
def test_what_cannot_be_done_is_refused_on_its_line(line: str, words: str, tmp_path: Path) -> None:
    problems = _problems(tmp_path, BASE.replace("CONNECTION", line))
    assert any(
        text.startswith(f"{tmp_path}/swanctl.conf:10: connections.rw") and words in text for text in problems
    )


@pytest.mark.parametrize(("side", "other"), [("remote", "remote2"), ("local", "local-2")])
def test_a_second_round_of_authentication_is_named_wherever_it_stands(
    side: str, other: str, tmp_path: Path
) -> None:
    text = BASE.replace(f"{side} {{ auth", f"{other} {{ auth = psk\n round = 2 }}\n    {side} {{ auth")
    line = 1 + text[: text.index(other)].count("\n")
    (problem,) = _problems(tmp_path, text)
    where = f"{tmp_path}/swanctl.conf:{line}: connections.rw.{other}: "
    assert problem.startswith(f"{where}a second round of authentication is by eap-md5 or eap-mschapv2")


def test_a_third_round_of_authentication_is_refused(tmp_path: Path) -> None:
    more = "".join(f"    remote-{n} {{ auth = eap-md5\n round = {n} }}\n" for n in (2, 3))
    text = BASE.replace("    remote { auth", f"{more}    remote {{ auth")
    assert any("remote-3: a third round" in problem for problem in _problems(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mode = beet", "the modes are tunnel, transport, iptfs, pass, drop"),
        ("ah_proposals = sha256\n esp_proposals = aes128gcm16", "either ESP or AH protects a Child SA"),
        ("ah_proposals = aes128", "the proposal aes128 has nothing that AH takes"),
        ("local_ts = dynamic[tcp/80]", "`dynamic` stands alone"),
        ("remote_ts = 10.1.0.0/33", "10.1.0.0/33"),
        ("start_action = trap|start", "the actions are none, trap and start"),
        ("replay_window = 0", "0 is out of range: must be at least 32"),
        ("per_cpu_sas = 4", "'4' is neither yes nor no"),
        ("start_acton = trap", "did you mean `start_action`?"),
        ("mark_in = 42", "no marks"),
        ("inner { x = 1 }", "unknown section"),
    ],
)
def test_what_a_child_cannot_do_is_refused_on_its_line(line: str, words: str, tmp_path: Path) -> None:
    problems = _problems(tmp_path, BASE.replace("CHILD", line))
    assert any(
        text.startswith(f"{tmp_path}/swanctl.conf:12: connections.rw") and words in text for text in problems
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("local { auth = psk", "local { auth = pubkey", "no certificate in x509/ is for this identity"),
        ("local { auth = psk", "local { auth = eap-mschapv2", "no `eap` secret in `secrets` is for alice"),
        ("local { auth = psk", "local { auth = eap-ttls", "'eap-ttls' is no way to authenticate"),
        ("local { auth = psk", "local { auth = xauth", "'xauth' is not supported"),
        ("local { auth = psk", "local { auth = pubkey-md5", "'pubkey-md5' is no way to authenticate"),
        ("local { auth = psk", "local { certs = me.pem", "x509/me.pem: No such file or directory"),
        ("local { auth = psk", "local { ", "no certificate in x509/"),
        ("remote { auth = psk", "remote { cacert-1 { file = ca.pem }", "x509ca/ca.pem: No such file"),
        ("remote { auth = psk", "remote { cacert-1 { slot = 1 }", "only files are read"),
        ("remote { auth = psk", "remote { ", "nobody is trusted"),
        ("remote { auth = psk", "remote { auth = psk\ngroups = x", "it is not looked at"),
        ("id = alice", "id = *.example.org", "a wildcard is only for a peer"),
        ("id = alice", 'id = "Q=CH, CN=me"', "an unknown kind of attribute, Q"),
        ("children {", "kids {", "has no children"),
        ("net { CHILD", "a+b { CHILD", "is no name here"),
        ("secret = hidden", "secret = 0xzz", "must be hexadecimal after 0x"),
        ("secret = hidden", 'secret = ""', "an empty secret"),
        ("secret = hidden", "", "has no `secret`"),
        ("SECRET", "id = bob", "no secret in `secrets` is for alice"),
        ("ike {", "ikw {", "unknown kind of secret"),
        ("secrets {", "secret {", "unknown section; did you mean `secrets`?"),
        ("rw {", "rw : nowhere {", "refers to `nowhere`, which is no section"),
        ("net { CHILD", "net { start_action = trap", ""),
    ],
)
def test_other_mistakes_are_told(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = BASE.replace(old, new, 1)
    if not words:
        words, text = "nobody to call", text.replace("remote_addrs = 192.0.2.1", "")
    assert any(words in problem for problem in _problems(tmp_path, text))


@pytest.mark.parametrize(
    "section",
    [
        "ntlm-x { secret = y }",
        "xauth-x { secret = y }",
        "private { file = key.pem }",
        "rsa-1 { secret = y }",
        "token { pin = 1 }",
    ],
)
def test_secrets_for_what_is_not_supported_are_named(section: str, tmp_path: Path) -> None:
    (warning,) = _import(tmp_path, BASE.replace("secrets {", f"secrets {{ {section}")).warnings
    assert str(warning).startswith(f"{tmp_path}/swanctl.conf:17: secrets.{section.split()[0]}: ignored: ")


def test_pools_are_imported_with_what_they_tell(tmp_path: Path) -> None:
    pools = """
pools {
    p { addrs = 10.3.0.10-10.3.0.20\n dns = 10.3.0.1, fd00::1\n netmask = 255.255.255.0\n nbns = 10.3.0.2 }
    q { addrs = fd00:3::/64\n subnet = fd00:1::/64, 10.1.0.0/16\n dhcp = fd00::2 }
}
"""
    found = _import(tmp_path, BASE.replace("rw {", "rw {\n pools = p, q\n vips = 0.0.0.0, ::", 1) + pools)
    connection = found.connections["rw"]
    assert (connection.vips, connection.pools) == (("0.0.0.0", "::"), ("p", "q"))
    assert found.pools["p"] == Pool(
        addrs="10.3.0.10-10.3.0.20", dns=("10.3.0.1", "fd00::1"), nbns=("10.3.0.2",), netmask="255.255.255.0"
    )
    assert found.pools["q"].subnet == ("fd00:1::/64", "10.1.0.0/16")
    assert found.warnings == []


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("p { dns = 10.3.0.1 }", "pools.p: has no `addrs`"),
        ("p { addrs = 10.3.0.9-10.3.0.1 }", "lowest first"),
        ("p { addrs = 10.3.0.0/24\n dns = x }", "'x' is no address"),
        ("p { adrs = 10.3.0.0/24 }", "did you mean `addrs`?"),
    ],
)
def test_what_is_wrong_with_a_pool_is_told(section: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as error:
        _import(tmp_path, BASE + f"pools {{ {section} }}\n")
    assert words in str(error.value)


def test_what_nobody_knows_of_a_pool_and_authorities_are_named(tmp_path: Path) -> None:
    more = "pools { p { addrs = 10.3.0.0/24\n server = 10.3.0.1 } }\nauthorities { ca { cacert = ca.pem } }\n"
    told = [str(warning) for warning in _import(tmp_path, BASE + more).warnings]
    names = ["authorities.ca.cacert", "pools.p.server"]
    assert [text.split(": ")[1] for text in told] == names


@pytest.mark.parametrize(
    ("secret", "octets"),
    [
        ("0x4a6F", b"Jo"),
        ("0XAbc", b"\x0a\xbc"),
        ("0sSm8=", b"Jo"),
        ('"a\\"b\\\\c # d"', b'a"b\\c # d'),
        ("größe", "größe".encode()),
        ("two  words", b"two words"),
    ],
)
def test_secrets_are_text_hexadecimal_or_base64(secret: str, octets: bytes, tmp_path: Path) -> None:
    config = _import(tmp_path, BASE.replace("hidden", secret))
    assert config.connections["rw"].psk == octets


@pytest.mark.parametrize(
    ("sections", "psk"),
    [
        ("ike { secret = any } ike-2 { secret = moon\n id = moon\n }", b"moon"),
        ("ike { secret = moon\n id = moon\n } ike-2 { secret = any }", b"moon"),
        (
            "ike { secret = me\n id = alice\n } ike-2 { secret = both\n id-1 = alice\n id-2 = moon\n }",
            b"both",
        ),
        ("ike { secret = me\n id = alice\n } ike-2 { secret = peer\n id = moon\n }", b"peer"),
        ("ike { secret = first\n id = moon\n } ike-2 { secret = last\n id = moon\n }", b"last"),
        ("ike { secret = wild\n id = mo*\n } ike-2 { secret = any }", b"any"),
        ("ike { secret = case\n id = MOON\n } ike-2 { secret = any }", b"case"),
        ("ike { secret = suffix\n id = *on\n } ike-2 { secret = any }", b"suffix"),
        ("ike { secret = other\n id-1 = alice\n id-2 = sun\n }", b"other"),
    ],
)
def test_the_secret_that_knows_the_peer_best_is_taken(sections: str, psk: bytes, tmp_path: Path) -> None:
    text = BASE[: BASE.index("secrets {")] + f"secrets {{ {sections} }}\n"
    assert _import(tmp_path, text).connections["rw"].psk == psk


def test_a_connection_for_anybody_needs_one_secret(tmp_path: Path) -> None:
    text = BASE.replace("id = moon", "").replace("SECRET", "id = bob")
    more = "secrets { ike-2 { secret = other\n id = carol\n } }\n"
    config = _import(tmp_path, text)
    assert config.connections["rw"].psk == b"hidden"
    (warning,) = config.warnings
    assert str(warning).startswith(f"{tmp_path}/swanctl.conf:18: secrets.ike: rw lets in whoever knows")
    assert any("several secrets may fit" in problem for problem in _problems(tmp_path, text + more))


@pytest.mark.parametrize(("text", "value"), [("101110", 46), ("000000", 0), ("0b11", 3)])
def test_a_dscp_is_binary(text: str, value: int, tmp_path: Path) -> None:
    config = _import(tmp_path, BASE.replace("rw {", f"rw {{\n dscp = {text}"))
    assert config.connections["rw"].dscp == value
    assert config.warnings == []


def test_a_dscp_that_is_not_binary_is_refused(tmp_path: Path) -> None:
    for text in ("46", "1011101", "ef"):
        problems = _problems(tmp_path, BASE.replace("rw {", f"rw {{\n dscp = {text}"))
        assert any("six binary digits" in problem for problem in problems)


def test_an_inherited_setting_is_told_where_it_stands(tmp_path: Path) -> None:
    text = "defaults { dpd_timeout = 7 }\n" + BASE.replace("rw {", "rw : defaults {")
    (warning,) = _import(tmp_path, text).warnings
    assert str(warning).startswith(f"{tmp_path}/swanctl.conf:1: connections.rw.dpd_timeout: ")


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("fqdn:moon.example", "moon.example"),
        ("@moon.example", "@moon.example"),
        ("@@a@example.org", "a@example.org"),
        ("email:a@example.org", "a@example.org"),
        ('"@#6b6579"', "@#6b6579"),
        ("keyid:key", "@#6b6579"),
        ('"ipv4:#0a000001"', "10.0.0.1"),
        ("some:thing", "@#736f6d653a7468696e67"),
        ('"{2}:moon"', "moon"),
        ("%any", "%any"),
    ],
)
def test_identities_are_who_strongswan_takes_them_for(written: str, ours: str, tmp_path: Path) -> None:
    config = _import(tmp_path, BASE.replace("id = alice", f"id = {written}"))
    assert config.connections["rw"].local_id == ours
    Identity.parse(ours)


PPKS = "secrets {\n  ppk-1 { id-1 = one\n secret = 0x0102 }\n  ppk-2 { id = two\n secret = zwei }\n}\n"


@pytest.mark.parametrize(("name", "ppk"), [("one", b"\1\2"), ("two", b"zwei")])
def test_a_ppk_is_found_by_its_name(name: str, ppk: bytes, tmp_path: Path) -> None:
    text = PPKS + BASE.replace("CONNECTION", f"ppk_id = {name}\n ppk_required = yes")
    config = _import(tmp_path, text)
    found = config.connections["rw"]
    assert config.warnings == []
    assert (found.ppk, found.ppk_id, found.ppk_required) == (ppk, name, True)


def test_a_responder_takes_the_only_ppk_that_there_is(tmp_path: Path) -> None:
    one = PPKS.replace("ppk-2 { id = two\n secret = zwei }", "")
    responder = BASE.replace("remote_addrs = 192.0.2.1", "")
    assert _import(tmp_path, one + responder).connections["rw"].ppk_id == "one"
    assert _import(tmp_path, one + BASE).connections["rw"].ppk is None
    assert _import(tmp_path, PPKS + responder).connections["rw"].ppk is None


@pytest.mark.parametrize("line", ["ppk_id = three", "ppk_required = yes"])
def test_a_ppk_that_nobody_has_is_a_mistake(line: str, tmp_path: Path) -> None:
    problems = _problems(tmp_path, PPKS + BASE.replace("CONNECTION", line))
    assert any("there is no PPK" in problem for problem in problems)


def test_strongswan_conf_beside_it_is_read(tmp_path: Path) -> None:
    daemon = "charon { keep_alive = 1m\n retransmit_timeout = 2.0\n retransmit_base = 2\n threads = 8\n"
    daemon += " fragment_size = 576 }\n"
    (tmp_path / "strongswan.conf").write_text(daemon)
    config = _read(tmp_path)
    connection: Connection = config.connections["rw"]
    assert (connection.keep_alive, connection.retransmit) == (60 * NS_PER_S, "iked")
    assert connection.fragment_size == 576
    assert [str(w) for w in config.warnings] == [
        f"{tmp_path}/strongswan.conf:4: charon.threads: ignored: no such setting here"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("charon { retransmit_tries = 9 }", "timeout, base and tries"),
        ("charon { retransmit_base = much }", "strongswan.conf:1: charon.retransmit_base: "),
        ("charon { port = 4501 }", "strongswan.conf:1: charon.port: 4501 is not supported in a file"),
        ("charon { fragment_size = 100 }", "fragment_size: must be 0 B or from 200 B"),
        ("charon { fragment_size = big }", "strongswan.conf:1: charon.fragment_size: "),
        ("ipsec-sim { rw { fragment_size = 600 } }", "fragment_size: "),
        ("ipsec-sim { rw { retransmit = iket } }", "did you mean `iked`?"),
        ("ipsec-sim { rw { keepalive = 1 } }", "did you mean `keep_alive`?"),
    ],
)
def test_mistakes_in_strongswan_conf_are_told(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "strongswan.conf").write_text(text)
    assert any(words in problem for problem in _problems(tmp_path, BASE))


def _read(folder: Path, *, connection: str = "", child: str = "") -> SwanctlConfig:
    return _import(folder, BASE.replace("CONNECTION", connection).replace("CHILD", child))


def _import(folder: Path, text: str) -> SwanctlConfig:
    path = folder / "swanctl.conf"
    for word in ("CONNECTION", "CHILD", "SECRET"):
        text = text.replace(word, "")
    path.write_text(text)
    return read(path)


def _problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        _import(folder, text)
    return str(caught.value).splitlines()


def test_a_connection_for_a_wildcard_needs_one_secret(tmp_path: Path) -> None:
    """Whoever the wildcard fits may have a secret of their own; whoever it does not fit does not count."""
    text = BASE.replace("id = moon", "id = *@example.org").replace("SECRET", "id = *@example.org")
    other = "secrets { ike-2 { secret = other\n id = %s\n } }\n"
    connection = _import(tmp_path, text + other % "carol@example.com").connections["rw"]
    assert (connection.remote_id, connection.psk) == ("*@example.org", b"hidden")
    problems = _problems(tmp_path, text + other % "Carol@Example.org")
    assert any("several secrets may fit" in problem for problem in problems)


def test_children_that_pass_and_drop_need_neither_peer_nor_secret(tmp_path: Path) -> None:
    """As the scenarios of strongSwan's own tests have them."""
    text = """\
connections {
  shunts {
    children {
      lan { local_ts = 10.1.0.0/16
        remote_ts = 10.1.0.0/16
        mode = pass
        start_action = trap
        esp_proposals = aes128
      }
      no-mail { remote_ts = 0.0.0.0/0[tcp/25]
        mode = drop
        priority = 1000
        start_action = trap
      }
    }
  }
}
"""
    (tmp_path / "swanctl.conf").write_text(text)
    config = read(tmp_path / "swanctl.conf")
    connection = config.connections["shunts"]
    assert connection.negotiated == {}
    lan, mail = connection.children["lan"], connection.children["no-mail"]
    assert (lan.mode, lan.priority, lan.local_ts) == ("pass", 0, (Selector.from_prefix("10.1.0.0/16"),))
    assert (mail.mode, mail.priority, mail.local_ts) == ("drop", 1000, ())
    assert [str(warning) for warning in config.warnings] == [
        f"{tmp_path}/swanctl.conf:8: connections.shunts.children.lan.esp_proposals: "
        "ignored: mode = pass makes no SA"
    ]


def test_a_policy_that_nobody_installs_is_refused(tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, BASE.replace("CHILD", "mode = drop"))
    assert "write `start_action: trap`" in problem
