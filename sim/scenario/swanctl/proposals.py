"""Proposals as strongSwan reads them, in the notation and with the algorithms of this project.

`default` are strongSwan's own default proposals, as far as this stack has their algorithms. A PRF in an ESP
proposal and an integrity algorithm beside an AEAD mean nothing there and are dropped, as strongSwan does, and
so are ciphers in one for AH.
"""

from __future__ import annotations

import re

from sim.ike.algorithms import (
    AH_TOKENS,
    ALIASES,
    IMPLIED_PRF,
    KEY_EXCHANGES,
    NAMES,
    TOKENS,
    is_aead,
    is_supported,
)
from sim.ike.constants import ProtocolId, TransformType
from sim.ike.payloads_sa import Transform
from sim.ike.proposals import parse_proposal

_IKE_PRFS = "prfsha256-prfsha384-prfsha512-prfaesxcbc-prfaescmac-prfsha1"
_IKE_GROUPS = (
    "x25519-x448-ecp256-ecp384-ecp521-ecp256bp-ecp384bp-ecp512bp-modp3072-modp4096-modp6144-modp8192-modp2048"
)
_GCM_16 = "aes128gcm16-aes192gcm16-aes256gcm16"
_CBC = "aes128-aes192-aes256"
_DEFAULTS = {  # as 5.9.8 offers them with all its plugins
    ProtocolId.IKE: (
        f"{_CBC}-aes128ctr-aes192ctr-aes256ctr-3des-sha256-sha384-sha512-sha1-aesxcbc-aescmac"
        f"-{_IKE_PRFS}-{_IKE_GROUPS}",
        f"{_GCM_16}-aes128ccm16-aes192ccm16-aes256ccm16-chacha20poly1305-aes128gcm12-aes192gcm12-aes256gcm12"
        "-aes128gcm8-aes192gcm8-aes256gcm8-aes128ccm12-aes192ccm12-aes256ccm12-aes128ccm8-aes192ccm8-aes256ccm8"
        f"-{_IKE_PRFS}-{_IKE_GROUPS}",
    ),
    ProtocolId.ESP: (_GCM_16, f"{_CBC}-sha256-sha384-sha512-sha1-aesxcbc"),
    ProtocolId.AH: ("sha256-sha384-sha512-sha1-aesxcbc",),
}
_TYPES = {
    ProtocolId.IKE: (TransformType.ENCR, TransformType.INTEG, TransformType.PRF, *KEY_EXCHANGES),
    ProtocolId.ESP: (TransformType.ENCR, TransformType.INTEG, *KEY_EXCHANGES, TransformType.ESN),
    ProtocolId.AH: (TransformType.INTEG, *KEY_EXCHANGES, TransformType.ESN),
}
_OTHERS = re.compile(
    r"des|(blowfish|serpent|twofish)(128|192|256)?|cast128|camellia(128|192|256)?(ctr|ccm\d+)?|chacha20poly1305compat"
    r"|sha1_160|sha(2_)?256_96|md5_128|(prf)?camelliaxcbc|modpnull|ntru(112|128|192|256)|newhope128|aes(128|192|256)ccm"
)
_NOT_THEIRS = {"prfsha": "prfsha1", "chacha20poly1305compat": "chacha20poly1305"}


def our_proposals(text: str, protocol: ProtocolId) -> tuple[tuple[str, ...], list[str]]:
    """The proposals of one item of a list (two for `default`), and what is left out, each as a sentence.

    ValueError for a word that is no algorithm. None remain where the stack has nothing of what is needed.
    """
    if text.lower() == "default":
        return _DEFAULTS[protocol], []
    words = [_ours(word.strip()) for word in text.lower().split("-") if word.strip()]
    missing = [word for word in words if not _is_ours(word, protocol)]
    proposal = "-".join(_meaningful([word for word in words if _is_ours(word, protocol)], protocol))
    if not proposal and not missing:
        raise ValueError(f"the proposal {text} has nothing that {protocol.name} takes")
    try:
        if _lost(words, missing, protocol):
            raise ValueError("nothing of a kind is left")
        parse_proposal(proposal, protocol)
    except ValueError:
        if not missing:
            raise
        return (), [f"the proposal {text} is left out: {', '.join(missing)} not supported yet"]
    told = [f"{', '.join(missing)} of the proposal {text} left out: not supported yet"] if missing else []
    return (proposal,), told


def their_proposal(text: str) -> str:
    """The words of one of our proposals as strongSwan spells them."""
    words = text.strip().lower().split("-")
    return "-".join(_NOT_THEIRS.get(word, word) for word in words)


def _ours(word: str) -> str:
    """The word as this project spells it; ValueError when neither of us knows it."""
    if word == "none":
        return "modpnone"
    if word not in TOKENS and word not in ALIASES and not _OTHERS.fullmatch(word):
        raise ValueError(f"{word!r} is no algorithm")
    return word


def _is_ours(word: str, protocol: ProtocolId) -> bool:
    return not _OTHERS.fullmatch(word) and is_supported(_transform(word, protocol))


def _lost(words: list[str], missing: list[str], protocol: ProtocolId) -> bool:
    """Whether all algorithms of a kind that matters are missing, so that less would be asked for."""
    known = [word for word in missing if not _OTHERS.fullmatch(word)]
    kept = {_transform(word, protocol).type for word in words if word not in missing}
    kinds = {_transform(word, protocol).type for word in known} & set(_TYPES[protocol])
    return bool(kinds - kept - {TransformType.INTEG})


def _transform(word: str, protocol: ProtocolId) -> Transform:
    tokens = AH_TOKENS if protocol == ProtocolId.AH else TOKENS
    return tokens[ALIASES.get(word, word)]


def _meaningful(words: list[str], protocol: ProtocolId) -> list[str]:
    kinds = set(_TYPES[protocol])
    found = [_transform(word, protocol) for word in words]
    ciphers = [transform for transform in found if transform.type == TransformType.ENCR]
    if ciphers and all(is_aead(cipher.id) for cipher in ciphers) and protocol != ProtocolId.AH:
        words = words + _implied(found, protocol)
        kinds.discard(TransformType.INTEG)
    kept = [word for word in words if _transform(word, protocol).type in kinds]
    if protocol == ProtocolId.IKE:
        kept = [word for word in kept if word != "modpnone"]
    return kept


def _implied(transforms: list[Transform], protocol: ProtocolId) -> list[str]:
    """The PRFs that the integrity algorithms of an IKE proposal stand for before they are dropped."""
    if protocol != ProtocolId.IKE or TransformType.PRF in {transform.type for transform in transforms}:
        return []
    integrity = [transform.id for transform in transforms if transform.type == TransformType.INTEG]
    names = [NAMES[TransformType.PRF, IMPLIED_PRF[id_], None] for id_ in integrity if id_ in IMPLIED_PRF]
    return list(dict.fromkeys(names))
