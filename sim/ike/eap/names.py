"""EAP methods by their names in swanctl.conf's `auth`."""

from __future__ import annotations

from sim.ike.eap.packets import EapType

METHODS = {
    "eap-mschapv2": (EapType.MSCHAPV2,),
    "eap-md5": (EapType.MD5,),
    "eap-tls": (EapType.TLS,),
    "eap": (EapType.TLS, EapType.MSCHAPV2, EapType.MD5),
}
"""Which methods are meant, the best first; some may turn out to lack a secret or a certificate."""

PASSWORD_METHODS = frozenset({"eap-mschapv2", "eap-md5"})
"""Nobody can do these without a password."""

_NAMES = {kinds[0]: name for name, kinds in METHODS.items() if len(kinds) == 1}


def type_name(kind: int) -> str:
    return _NAMES.get(kind, f"EAP type {kind}")  # type: ignore[call-overload, no-any-return]


def eap_problem(local: str, remote: str) -> str:
    """Why two sides with these words for `auth` could never do EAP together; empty if they could."""
    for own, other in ((local, remote), (remote, local)):
        if own in PASSWORD_METHODS and other in METHODS:
            return f"{own} does not stand alone (RFC 5998 4): the other side needs pubkey or psk"
        if own == "eap-tls" and other in ("psk", "null"):
            return "eap-tls wants certificates of both: write pubkey for the other side, or eap-tls as well"
        if own in METHODS and other in METHODS and not set(METHODS[own]) & set(METHODS[other]):
            return f"{own} and {other} have no method in common"
    return ""
