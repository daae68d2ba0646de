"""Whether a certificate is one of the identity that a peer claims (RFC 7296 3.5, RFC 4945 3.1)."""

from __future__ import annotations

from sim.crypto.certificate import DIRECTORY_NAME, DNS_NAME, IP_NAME, RFC822_NAME, Certificate
from sim.ike.constants import IdType
from sim.ike.identity import Identity
from sim.wire import der

_ALTERNATIVES = {
    DNS_NAME: (IdType.FQDN,),
    RFC822_NAME: (IdType.RFC822_ADDR,),
    IP_NAME: (IdType.IPV4_ADDR, IdType.IPV6_ADDR),
    DIRECTORY_NAME: (IdType.DER_ASN1_DN,),
}


def confirms(cert: Certificate, identity: Identity) -> bool:
    """A DN is the subject or an alternative name, a key id the subject's; others are alternative names."""
    if identity.type == IdType.KEY_ID:
        return identity.data in (cert.subject_key_id, cert.key_hash) and bool(identity.data)
    if identity.type == IdType.DER_ASN1_GN:
        return any(der.element(tag, content) == identity.data for tag, content in cert.names)
    if identity.type == IdType.DER_ASN1_DN and identity.same(Identity(identity.type, cert.subject)):
        return True
    return any(
        identity.type in _ALTERNATIVES.get(tag, ()) and identity.same(Identity(identity.type, content))
        for tag, content in cert.names
    )
