"""Proposals: strongSwan's strings, the choice among them, and the algorithms that they name.

RFC 7296 2.7 (negotiation), 3.3 and 3.3.3 (what a proposal must hold), 3.3.6 (choosing), RFC 5282 8 (AEADs),
RFC 9370 2.2.1 (additional key exchanges, each with another method).

A responder's own order decides, of its proposals and of the algorithms in them, as with strongSwan's
`prefer_configured_proposals`; but a suite with the group of the KE payload comes before one that needs
another round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from sim.crypto.ids import EncryptionId, IntegrityId, KeyExchangeId, PrfId
from sim.crypto.kex import KeyExchange
from sim.crypto.prf import Prf
from sim.crypto.suites import AH_INTEGRITY, ENCRYPTION, ESP_ONLY, KEY_EXCHANGE, PRF, Encryption, Integrity
from sim.ike.algorithms import (
    ADDITIONAL,
    AH_TOKENS,
    ALIASES,
    IMPLIED_PRF,
    KEY_EXCHANGES,
    NAMES,
    TOKENS,
    is_aead,
    is_supported,
)
from sim.ike.constants import Esn, ProtocolId, TransformType, name_of
from sim.ike.payloads_sa import Attribute, Proposal, Transform
from sim.wire.value import value

__all__ = [
    "Attribute",
    "EspSuite",
    "IkeSuite",
    "Proposal",
    "Transform",
    "additional_are_required",
    "additional_exchanges",
    "esp_suite",
    "format_proposal",
    "ike_suite",
    "is_choice_of",
    "offer",
    "offers_additional",
    "parse_proposal",
    "select",
]

NONE = 0
"""The Transform ID NONE of integrity algorithms and key exchange methods."""

_TYPES = {
    ProtocolId.IKE: (TransformType.ENCR, TransformType.PRF, TransformType.INTEG, *KEY_EXCHANGES),
    ProtocolId.AH: (TransformType.INTEG, *KEY_EXCHANGES, TransformType.ESN),
    ProtocolId.ESP: (TransformType.ENCR, TransformType.INTEG, *KEY_EXCHANGES, TransformType.ESN),
}
_SPI_BYTES: dict[int, tuple[int, ...]] = {
    ProtocolId.IKE: (0, 8),
    ProtocolId.AH: (4,),
    ProtocolId.ESP: (4,),
}  # none in an initial IKE_SA_INIT
_MAY_BE_NONE = (TransformType.INTEG, *KEY_EXCHANGES)
_AH_ENCRYPTION = ENCRYPTION[EncryptionId.ENCR_NULL, None]


@value
class IkeSuite:
    """The algorithms of an IKE SA; `integrity` is None with an AEAD."""

    encryption: Encryption
    integrity: Integrity | None
    prf: Prf
    kex: KeyExchange


@value
class EspSuite:
    """The algorithms of a Child SA; `kex` is None where the keys come from the IKE SA's nonces alone.

    `protocol` is ESP or AH. For AH `encryption` is NULL, which takes no key.
    """

    encryption: Encryption
    integrity: Integrity | None
    esn: bool
    kex: KeyExchange | None
    protocol: ProtocolId = ProtocolId.ESP


def parse_proposal(text: str, protocol: int) -> Proposal:
    """The proposal that a string such as `aes256-sha256-modp2048` stands for, number 1 and without SPI.

    Several algorithms of one type are alternatives, in order of preference. Without a PRF an IKE proposal
    takes those of its integrity algorithms, without `esn` one for ESP or AH offers NO_ESN. ValueError names
    the word that is wrong, and what would be right.
    """
    if protocol not in _TYPES:
        raise ValueError(f"proposal {text!r}: {name_of(ProtocolId, protocol)} is not supported yet")
    transforms = [_transform(word, text, protocol) for word in text.strip().lower().split("-")]
    if protocol == ProtocolId.IKE:
        transforms += _implied_prfs(transforms)
    elif not _of(transforms, TransformType.ESN):
        transforms.append(Transform(TransformType.ESN, Esn.NO_ESN))
    _check(transforms, text, protocol)
    ordered = [t for kind in _TYPES[ProtocolId(protocol)] for t in _of(transforms, kind)]
    return Proposal(1, protocol, b"", tuple(dict.fromkeys(ordered)))


def format_proposal(proposal: Proposal) -> str:
    """The string that `parse_proposal` reads; what has no name is shown as `type:id:key bits`."""
    return _format(proposal.transforms)


def offer(proposals: Iterable[Proposal], spi: bytes = b"") -> tuple[Proposal, ...]:
    """The proposals as an SA payload carries them: numbered from 1, each with the sender's SPI (3.3.1)."""
    return tuple([proposal.with_spi(spi, n) for n, proposal in enumerate(proposals, 1)])


def select(
    offered: Sequence[Proposal], accepted: Sequence[Proposal], ke_group: int | None = None
) -> Proposal | None:
    """The offered proposal cut down to one transform of each type, or None for NO_PROPOSAL_CHOSEN.

    Number, SPI and transforms stay the initiator's, untouched: an answer needs
    `chosen.with_spi(own_spi)`. `ke_group` is the group of the KE payload that came along; the choice may
    still name another one, which is for INVALID_KE_PAYLOAD to tell.
    """
    for group in (ke_group, None) if ke_group is not None else (None,):
        for mine in accepted:
            for theirs in offered:
                if (chosen := _match(mine, theirs, group)) is not None:
                    return chosen
    return None


def is_choice_of(answer: Sequence[Proposal], offered: Sequence[Proposal]) -> bool:
    """Whether a responder's answer is one offered proposal with one transform of each type (RFC 7296 2.7).

    A type for which NONE was offered may be missing.
    """
    if len(answer) != 1:
        return False
    chosen = answer[0]
    kinds = [transform.type for transform in chosen.transforms]
    return (
        len(set(kinds)) == len(kinds)
        and not _repeats_a_method(chosen.transforms)
        and any(
            chosen.number == proposal.number
            and chosen.protocol == proposal.protocol
            and _has_usable_spi(chosen)
            and _is_drawn_from(chosen.transforms, proposal.transforms)
            for proposal in offered
        )
    )


def ike_suite(chosen: Proposal) -> IkeSuite:
    """The algorithms of a proposal that `select` or `is_choice_of` has approved."""
    return _ike_suite(chosen.transforms)


def esp_suite(chosen: Proposal) -> EspSuite:
    """The algorithms of a proposal that `select` or `is_choice_of` has approved."""
    return _esp_suite(chosen.transforms, ProtocolId(chosen.protocol))


def additional_exchanges(chosen: Proposal) -> tuple[KeyExchange, ...]:
    """The additional key exchanges of an approved proposal, in their order (RFC 9370 2.2.1)."""
    return _additional(chosen.transforms)


def offers_additional(proposal: Proposal) -> bool:
    """Whether a proposal has an additional key exchange among its transforms."""
    return _offers_additional(proposal.transforms)


def additional_are_required(proposal: Proposal) -> bool:
    """Whether a proposal cannot be chosen without an additional key exchange."""
    return _offers_additional(proposal.transforms) and _requires_additional(proposal.transforms)


# The same few lists of transforms are on offer, and chosen, again and again: each question about them is
# answered once. The numbers are bounds, far above what a scenario has.


@lru_cache(256)
def _format(transforms: tuple[Transform, ...]) -> str:
    prfs, others = _of(transforms, TransformType.PRF), _without(transforms, TransformType.PRF)
    implied = set(prfs) == set(_implied_prfs(others))
    return "-".join(
        _name(transform)
        for transform in (others if implied else transforms)
        if not _goes_without_saying(transform, transforms)
    )


@lru_cache(256)
def _additional(chosen: tuple[Transform, ...]) -> tuple[KeyExchange, ...]:
    methods = [_id(chosen, kind) for kind in ADDITIONAL]
    return tuple([KEY_EXCHANGE[KeyExchangeId(method)] for method in methods if method != NONE])


@lru_cache(256)
def _offers_additional(transforms: tuple[Transform, ...]) -> bool:
    return any(t.type in ADDITIONAL and t.id != NONE for t in transforms)


@lru_cache(256)
def _requires_additional(transforms: tuple[Transform, ...]) -> bool:
    kinds = [_of(transforms, kind) for kind in ADDITIONAL]
    return any(methods and not any(map(_is_none, methods)) for methods in kinds)


@lru_cache(256)
def _ike_suite(chosen: tuple[Transform, ...]) -> IkeSuite:
    kex, encryption = _kex(chosen), _encryption(chosen)
    if kex is None or encryption.esp_only:
        raise ValueError(
            "an IKE SA needs a key exchange, and encryption that is not for ESP alone (RFC 7296 5)"
        )
    return IkeSuite(encryption, _integrity(chosen), PRF[PrfId(_id(chosen, TransformType.PRF))], kex)


@lru_cache(256)
def _esp_suite(chosen: tuple[Transform, ...], protocol: ProtocolId) -> EspSuite:
    esn = _id(chosen, TransformType.ESN) == Esn.ESN
    encryption = _AH_ENCRYPTION if protocol is ProtocolId.AH else _encryption(chosen)
    return EspSuite(encryption, _integrity(chosen), esn, _kex(chosen), protocol)


def _transform(word: str, text: str, protocol: int) -> Transform:
    tokens = AH_TOKENS if protocol == ProtocolId.AH else TOKENS
    transform = tokens.get(ALIASES.get(word, word))
    if transform is None:
        raise ValueError(f"proposal {text!r}: {word!r} is no algorithm; known are {_known(protocol)}")
    if not is_supported(transform):
        raise ValueError(f"proposal {text!r}: {word} is not supported yet; supported are {_known(protocol)}")
    if transform.type not in _TYPES[ProtocolId(protocol)]:
        raise ValueError(
            f"proposal {text!r}: {word} has no place in a proposal for {ProtocolId(protocol).name}"
            + (": AH encrypts nothing" if transform.type == TransformType.ENCR else "")
        )
    return transform


def _known(protocol: int) -> str:
    kinds = _TYPES[ProtocolId(protocol)]
    tokens = AH_TOKENS if protocol == ProtocolId.AH else TOKENS
    known = [
        name
        for name, t in tokens.items()
        if is_supported(t) and t.type in kinds and not (protocol == ProtocolId.IKE and _is_for_esp(t))
    ]
    return ", ".join(name for name in known if tokens[name].type not in ADDITIONAL)


def _is_for_esp(transform: Transform) -> bool:
    return transform.type == TransformType.ENCR and transform.id in ESP_ONLY


def _implied_prfs(transforms: Sequence[Transform]) -> list[Transform]:
    if _of(transforms, TransformType.PRF):
        return []
    integrity = _of(transforms, TransformType.INTEG)
    return [Transform(TransformType.PRF, IMPLIED_PRF[t.id]) for t in integrity if t.id in IMPLIED_PRF]


def _check(transforms: Sequence[Transform], text: str, protocol: int) -> None:
    """What RFC 7296 3.3 and 3.3.3 demand of a proposal, as sentences."""
    aeads = {is_aead(t.id) for t in _of(transforms, TransformType.ENCR)}
    integrity = _of(transforms, TransformType.INTEG)
    problem = ""
    if protocol == ProtocolId.AH:
        problem = "" if integrity else "it names no integrity algorithm, such as sha256"
    elif not aeads:
        problem = "it names no encryption algorithm"
    elif len(aeads) == 2:
        problem = "AEAD and other ciphers belong into separate proposals (RFC 7296 3.3)"
    elif True in aeads and integrity:
        problem = "an AEAD cipher takes no integrity algorithm beside it (RFC 7296 3.3)"
    elif False in aeads and not integrity:
        problem = "its cipher needs an integrity algorithm, such as sha256"
    elif protocol == ProtocolId.IKE:
        problem = _ike_problem(transforms)
    if not problem and not _has_distinct_methods(transforms):
        problem = "no key exchange method may be used twice, and no choice avoids it (RFC 9370 2.2.1)"
    if problem:
        raise ValueError(f"proposal {text!r}: {problem}")


def _ike_problem(transforms: Sequence[Transform]) -> str:
    groups = _of(transforms, TransformType.KE)
    if not groups:
        return "an IKE proposal needs a key exchange method, such as x25519"
    if any(t.id == NONE for t in groups):
        return "an IKE proposal cannot do without a key exchange"
    for cipher in _of(transforms, TransformType.ENCR):
        if why := ESP_ONLY.get(cipher.id):
            return f"{_name(cipher)} is for ESP alone: {why}"
    if not _of(transforms, TransformType.PRF):
        return "with an AEAD cipher an IKE proposal must name a PRF, such as prfsha256"
    return ""


def _has_distinct_methods(transforms: Sequence[Transform]) -> bool:
    """Whether one method of each key exchange can be chosen without a repetition."""
    kinds = sorted(_kinds(transforms).intersection(KEY_EXCHANGES))
    return _choose([_of(transforms, kind) for kind in kinds], frozenset()) is not None


def _match(mine: Proposal, theirs: Proposal, ke_group: int | None) -> Proposal | None:
    """One transform of each type that either side has, from `theirs`, by the order of `mine`."""
    if mine.protocol != theirs.protocol or not _has_usable_spi(theirs):
        return None
    chosen = _match_transforms(mine.transforms, theirs.transforms, ke_group)
    return None if chosen is None else Proposal(theirs.number, theirs.protocol, theirs.spi, chosen)


@lru_cache(256)
def _match_transforms(
    mine: tuple[Transform, ...], theirs: tuple[Transform, ...], ke_group: int | None
) -> tuple[Transform, ...] | None:
    """`ke_group` leaves `theirs` no other key exchange."""
    if ke_group is not None:
        theirs = tuple([t for t in theirs if t.type != TransformType.KE or t.id == ke_group])
    kinds = sorted(_kinds(theirs) | _kinds(mine))
    chosen = _choose([_candidates(kind, _of(mine, kind), _of(theirs, kind)) for kind in kinds], frozenset())
    return None if chosen is None or _mixes_integrity(chosen) else chosen


def _choose(
    kinds: Sequence[Sequence[Transform | None]], methods: frozenset[int]
) -> tuple[Transform, ...] | None:
    """The first candidate of each type that leaves no key exchange method used twice (RFC 9370 2.2.1)."""
    if not kinds:
        return ()
    for transform in kinds[0]:
        used = _methods(() if transform is None else (transform,))
        if methods.isdisjoint(used) and (rest := _choose(kinds[1:], methods.union(used))) is not None:
            return rest if transform is None else (transform, *rest)
    return None


@lru_cache(256)
def _is_drawn_from(chosen: tuple[Transform, ...], offered: tuple[Transform, ...]) -> bool:
    """Every chosen one is offered, every offered type that cannot be NONE chosen, no method used twice."""
    if _repeats_a_method(chosen):
        return False
    optional = {transform.type for transform in offered if _is_none(transform)}
    return _kinds(offered) - optional <= _kinds(chosen) and all(
        any(_same(transform, candidate) for candidate in offered) for transform in chosen
    )


def _has_usable_spi(proposal: Proposal) -> bool:
    """Whether the SPI has the protocol's size (RFC 7296 3.3.1) and names an SA at all (RFC 4303 2.1)."""
    spi = proposal.spi
    return len(spi) in _SPI_BYTES[proposal.protocol] and (not spi or any(spi))


def _candidates(
    kind: int, wanted: Sequence[Transform], available: Sequence[Transform]
) -> list[Transform | None]:
    """What may be chosen for a type, best first; None is to leave the type out."""
    if not available:
        return [None] if _allows_none(kind, wanted) else []
    if not wanted and kind in _MAY_BE_NONE:
        wanted = (Transform(kind, NONE),)
    found = [t for t in wanted if any(_same(t, candidate) for candidate in available)]
    return [Transform(kind, t.id, t.key_bits) for t in (found if kind in KEY_EXCHANGES else found[:1])]


def _allows_none(kind: int, wanted: Sequence[Transform]) -> bool:
    return kind in _MAY_BE_NONE and (not wanted or any(_is_none(t) for t in wanted))


def _mixes_integrity(chosen: Sequence[Transform]) -> bool:
    """An AEAD with an integrity algorithm, or any other cipher without one (RFC 7296 3.3)."""
    aead = any(is_aead(t.id) for t in _of(chosen, TransformType.ENCR))
    integrity = any(not _is_none(t) for t in _of(chosen, TransformType.INTEG))
    return aead == integrity


def _repeats_a_method(chosen: Sequence[Transform]) -> bool:
    """Whether two key exchanges have the same method (RFC 9370 2.2.1)."""
    methods = _methods(chosen)
    return len(set(methods)) < len(methods)


def _methods(transforms: Iterable[Transform]) -> list[int]:
    return [t.id for t in transforms if t.type in KEY_EXCHANGES and t.id != NONE]


def _same(one: Transform, other: Transform) -> bool:
    """Equal in all that is negotiated; an attribute that we do not know matches nothing (RFC 7296 3.3.6)."""
    return (one.type, one.id, one.key_bits) == (other.type, other.id, other.key_bits) and not (
        one.attributes or other.attributes
    )


def _kinds(transforms: Iterable[Transform]) -> set[int]:
    return {transform.type for transform in transforms}


def _of(transforms: Iterable[Transform], kind: int) -> list[Transform]:
    return [transform for transform in transforms if transform.type == kind]


def _without(transforms: Iterable[Transform], kind: int) -> list[Transform]:
    return [transform for transform in transforms if transform.type != kind]


def _is_none(transform: Transform) -> bool:
    return transform.type in _MAY_BE_NONE and transform.id == NONE


def _goes_without_saying(transform: Transform, transforms: Iterable[Transform]) -> bool:
    """Whether it is the only one of its type and says no: no integrity, no key exchange, no ESN."""
    says_no = _is_none(transform) or (transform.type, transform.id) == (TransformType.ESN, Esn.NO_ESN)
    return says_no and len(_of(transforms, transform.type)) == 1


def _name(transform: Transform) -> str:
    name = NAMES.get((transform.type, transform.id, transform.key_bits))
    if name is not None and not transform.attributes:
        return name
    return f"{transform.type}:{transform.id}:{transform.key_bits or ''}".rstrip(":")


def _id(chosen: Iterable[Transform], kind: int) -> int:
    return next((t.id for t in chosen if t.type == kind), NONE)


def _encryption(chosen: Iterable[Transform]) -> Encryption:
    (transform,) = _of(chosen, TransformType.ENCR)
    return ENCRYPTION[EncryptionId(transform.id), transform.key_bits]


def _integrity(chosen: Iterable[Transform]) -> Integrity | None:
    algorithm = _id(chosen, TransformType.INTEG)
    return AH_INTEGRITY[IntegrityId(algorithm)] if algorithm != NONE else None


def _kex(chosen: Iterable[Transform]) -> KeyExchange | None:
    method = _id(chosen, TransformType.KE)
    return KEY_EXCHANGE[KeyExchangeId(method)] if method != NONE else None
