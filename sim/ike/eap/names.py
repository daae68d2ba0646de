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

_NAMES = {kinds[0]: name for name, kinds in METHODS.items() if len(kinds) == 1}


def type_name(kind: int) -> str:
    return _NAMES.get(kind, f"EAP type {kind}")  # type: ignore[call-overload, no-any-return]
