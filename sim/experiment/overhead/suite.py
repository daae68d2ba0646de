"""Suites from strongSwan's proposal strings: one choice each, of ESP or of AH."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from sim.crypto.suites import Encryption, Integrity
from sim.experiment.overhead.errors import OverheadError
from sim.ike.algorithms import AH_TOKENS, ALIASES, KEY_EXCHANGES, TOKENS, is_supported
from sim.ike.constants import ProtocolId, TransformType
from sim.ike.proposals import Proposal, esp_suite, parse_proposal

_IIV = "iiv"
_KINDS = (TransformType.ENCR, TransformType.INTEG, TransformType.ESN, *KEY_EXCHANGES)


@dataclass(frozen=True, slots=True)
class Suite:
    """The algorithms of one SA. `name` is the proposal string in this project's spelling."""

    name: str
    encryption: Encryption
    integrity: Integrity | None
    esn: bool


def parse_suite(text: str, *, ah: bool, esn: bool, iiv: bool) -> Suite:
    """The suite of a proposal string; OverheadError says what is wrong with it, and what was perhaps meant.

    A group for the key exchange is allowed and adds no octet to a packet. AH takes an integrity algorithm
    alone, or that of an ESP proposal. `iiv` asks for the cipher of the same name whose IV is implicit.
    """
    words = [word for word in text.strip().lower().split("-") if word]
    for word in words:
        _check_word(word, text)
    words = [ALIASES.get(word, word) for word in words if _kind(word) not in KEY_EXCHANGES]
    if ah:
        return _ah_suite(words, text, esn)
    if iiv:
        words = [_implicit(word, text) if _kind(word) == TransformType.ENCR else word for word in words]
    return _esp_suite(words, text, esn)


def _esp_suite(words: list[str], text: str, esn: bool) -> Suite:
    name = "-".join(words)
    if words and all(_kind(word) == TransformType.INTEG for word in words):
        raise OverheadError(
            f"suite {text!r}: an integrity algorithm alone is for AH (--protocol ah); ESP takes a cipher "
            f"as well, such as aes128-{name} or null-{name}"
        )
    try:
        chosen = parse_proposal(name, ProtocolId.ESP)
    except ValueError as error:
        raise OverheadError(f"suite {text!r}: {_reason(error)}") from None
    _check_single(chosen, text)
    suite = esp_suite(chosen)
    return Suite(name, suite.encryption, suite.integrity, esn or suite.esn)


def _ah_suite(words: list[str], text: str, esn: bool) -> Suite:
    macs = [word for word in words if word in AH_TOKENS and AH_TOKENS[word].type == TransformType.INTEG]
    if len(macs) != 1:
        what = "none" if not macs else "several"
        raise OverheadError(
            f"suite {text!r}: AH takes one integrity algorithm, such as sha256, and this has {what}"
        )
    suite = esp_suite(parse_proposal(macs[0], ProtocolId.AH))
    return Suite(macs[0], suite.encryption, suite.integrity, esn or "esn" in words)


def _check_word(word: str, text: str) -> None:
    name = ALIASES.get(word, word)
    if name not in TOKENS:
        usable = [known for known, transform in TOKENS.items() if _is_usable(known)]
        near = get_close_matches(word, usable, 2, 0.7)
        hint = (
            f"did you mean {' or '.join(near)}?" if near else "suites look like aes128gcm16 or aes256-sha256"
        )
        raise OverheadError(f"suite {text!r}: {word!r} is no algorithm; {hint}")
    if not is_supported(TOKENS[name]):
        raise OverheadError(f"suite {text!r}: {word} is not supported yet")


def _is_usable(word: str) -> bool:
    return is_supported(TOKENS[word]) and TOKENS[word].type in (TransformType.ENCR, TransformType.INTEG)


def _kind(word: str) -> int:
    return TOKENS[ALIASES.get(word, word)].type


def _implicit(word: str, text: str) -> str:
    name = word + _IIV
    if name in TOKENS and is_supported(TOKENS[name]):
        return name
    known = [other.removesuffix(_IIV) for other in TOKENS if other.endswith(_IIV)]
    raise OverheadError(
        f"suite {text!r}: the IV of {word} cannot be implicit; RFC 8750 has that for {', '.join(known)}"
    )


def _check_single(proposal: Proposal, text: str) -> None:
    for kind in _KINDS:
        if len([t for t in proposal.transforms if t.type == kind]) > 1:
            raise OverheadError(
                f"suite {text!r}: it offers a choice; give each suite as an argument of its own"
            )


def _reason(error: ValueError) -> str:
    """What `parse_proposal` says, without the proposal it says it of."""
    return str(error).partition(": ")[2] or str(error)
