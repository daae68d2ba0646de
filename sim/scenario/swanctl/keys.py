"""Every key of swanctl.conf(5), and what becomes of it here.

USED keys are imported. Any other key is harmless with a value that says what this stack does anyway. With
another value it is refused if that would change what happens on the wire, and ignored with a warning if not.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from sim.scenario.errors import Problem
from sim.scenario.swanctl.syntax import View


class Use(Enum):
    USED = "used"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rule:
    """`harmless` values are accepted in silence; `why` ends the sentence that tells about others."""

    use: Use
    why: str = ""
    harmless: frozenset[str] = frozenset()


def _used(*keys: str) -> dict[str, Rule]:
    return dict.fromkeys(keys, Rule(Use.USED))


def _ignored(why: str, *keys: str, harmless: str = "") -> dict[str, Rule]:
    return dict.fromkeys(keys, Rule(Use.IGNORED, why, frozenset(harmless.split())))


def _refused(why: str, *keys: str, harmless: str = "") -> dict[str, Rule]:
    return dict.fromkeys(keys, Rule(Use.REFUSED, why, frozenset(harmless.split())))


NO, YES, ZERO = "no false disabled 0", "yes true enabled 1", "0 0s 0m 0h 0d"
_NO_MARK = "there are no marks or interface ids here"

CONNECTION: dict[str, Rule] = {
    **_used("local_addrs", "remote_addrs", "remote_port", "proposals", "mobike", "encap", "dpd_delay"),
    **_used("send_cert", "send_certreq"),
    **_used("rekey_time", "over_time", "rand_time", "reauth_time"),
    **_used("ppk_id", "ppk_required"),
    **_used("dscp"),
    **_used("unique", "childless", "keyingtries", "fragmentation"),
    **_refused("only IKEv2 is supported", "version", harmless="0 2"),
    **_refused("the port belongs to the whole host", "local_port", harmless="500 4500"),
    **_used("vips", "pools"),
    **_refused(_NO_MARK, "if_id_in", "if_id_out", harmless="0"),
    **_refused("mediation is not supported", "mediation", harmless=NO),
    **_refused("mediation is not supported", "mediated_by", "mediation_peer"),
    **_ignored("it matters only in IKEv1", "aggressive", harmless=NO),
    **_ignored("it matters only in IKEv1", "pull", harmless=YES),
    **_ignored("it matters only in IKEv1", "dpd_timeout", harmless=ZERO),
}
AUTH: dict[str, Rule] = {
    **_used("auth", "id", "eap_id", "certs", "cacerts", "pubkeys", "revocation", "round"),
    **_refused("it is not looked at", "ca_id", "cert_policy", "groups"),
    **_ignored("no other server is asked", "aaa_id"),
    **_ignored("XAuth is of IKEv1", "xauth_id"),
}
CERT: dict[str, Rule] = {
    **_used("file"),
    **_refused("only files are read", "handle", "slot", "module"),
}
CHILD: dict[str, Rule] = {
    **_used("esp_proposals", "ah_proposals", "mode", "local_ts", "remote_ts"),
    **_used("replay_window", "copy_df", "start_action"),
    **_used("ipcomp", "per_cpu_sas"),
    **_used("rekey_time", "life_time", "rand_time"),
    **_used("copy_dscp", "copy_ecn"),
    **_used("rekey_bytes", "life_bytes", "rand_bytes", "rekey_packets", "life_packets", "rand_packets"),
    **_refused("only the standard truncation is supported", "sha256_96", harmless=NO),
    **_refused("policies are always installed", "policies", harmless=YES),
    **_used("close_action", "dpd_action"),
    **_refused("idle Child SAs stay", "inactivity", harmless=ZERO),
    **_used("priority"),
    **_refused("policies hold for every interface", "interface"),
    **_refused(_NO_MARK, "mark_in", "mark_out", "set_mark_in", "set_mark_out", harmless="0 0/0x00000000"),
    **_refused(_NO_MARK, "if_id_in", "if_id_out", harmless="0"),
    **_refused(_NO_MARK, "mark_in_sa", harmless=NO),
    **_refused("security labels are not supported", "label"),
    **_used("tfc_padding"),
    **_used("icmp"),
    **_ignored("there are no security labels", "label_mode", harmless="system"),
    **_ignored("there is no such hardware", "hw_offload", harmless=NO),
    **_ignored("no script is run", "updown"),
    **_ignored("no script is run", "hostaccess", harmless=NO),
    **_ignored("forwarded packets need no policy of their own", "policies_fwd_out", harmless=NO),
    **_ignored("SAs and policies need no id to find each other", "reqid", harmless="0"),
}
AUTHORITY: dict[str, Rule] = _ignored(
    "nothing is fetched: CAs are read from x509ca/, CRLs from x509crl/",
    *("cacert", "file", "handle", "slot", "module", "crl_uris", "ocsp_uris", "cert_uri_base"),
)
POOL: dict[str, Rule] = {
    **_used("addrs", "dns", "nbns", "dhcp", "netmask", "subnet"),
    **_ignored("no peer here knows it", "server", "split_include", "split_exclude"),
}


def check_keys(view: View, rules: dict[str, Rule]) -> Iterator[tuple[Use, Problem]]:
    """What has to be said about the keys of a section: REFUSED ones (also unknown ones), and IGNORED ones."""
    for key, setting in view.settings.items():
        rule, name = rules.get(key), f"{view.key}.{key}"
        if rule is None:
            yield Use.REFUSED, setting.at.problem(name, f"unknown key; {suggest(key, rules)}")
        elif rule.use is not Use.USED and (setting.value or "").strip().lower() not in rule.harmless:
            verb = "ignored" if rule.use is Use.IGNORED else "not supported"
            yield rule.use, setting.at.problem(name, f"{verb}: {rule.why}{_instead(rule)}")


def suggest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known are {', '.join(sorted(names))}"


def _instead(rule: Rule) -> str:
    if rule.use is not Use.REFUSED:
        return ""
    shown = [value for value in ("no", "yes", "0", *sorted(rule.harmless)) if value in rule.harmless]
    return f"; leave it out or write {shown[0]}" if shown else "; leave it out"
