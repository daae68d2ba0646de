"""The variants of one study: every combination of carrier, suite, mode, NAT-T and outer version asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product

from sim.experiment.overhead.carriers import FORMULA, WAYS, Carrier
from sim.experiment.overhead.errors import OverheadError
from sim.experiment.overhead.suite import Suite, parse_suite
from sim.wire.esp import Mode
from sim.wire.handling import TO_MTU

USUAL_SUITES = (
    *("aes128gcm16", "chacha20poly1305", "aes128gcm8", "aes128ccm16", "aes256-sha1", "aes256-sha256"),
    *("aes256-sha384", "aes256-sha512", "aes128ctr-sha256", "3des-sha1", "null-sha256", "sha256"),
)
"""What a comparison shows where no suite is named."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to carry a packet. `suite` and `mode` are None where the carrier has none to choose.

    `outer` is the IP version around; in transport mode, and without a carrier, that of the packet itself.
    `tfc` is the size that inner packets are padded to (RFC 4303 2.7), 0 for none, or TO_MTU.
    """

    carrier: Carrier
    suite: Suite | None
    mode: Mode | None
    outer: int
    natt: bool = False
    ipcomp: bool = False
    tfc: int = 0

    @property
    def label(self) -> str:
        """Short and distinct: "ESP tunnel aes128gcm16, NAT-T, IPv4"."""
        words = [WAYS[self.carrier].title]
        if self.mode is not None and (
            self.carrier in _IPSEC or self.mode is not WAYS[self.carrier].default_mode
        ):
            words.append(self.mode.value)
        if self.suite is not None:
            words.append(self.suite.name)
        text = " ".join(words)
        text += ", NAT-T" * self.natt + ", IPComp" * self.ipcomp
        if self.tfc:
            text += f", TFC {'to MTU' if self.tfc == TO_MTU else self.tfc}"
        return text if self.carrier is Carrier.PLAIN else f"{text}, IPv{self.outer}"

    @property
    def origin(self) -> str:
        """ "encoded", or "formula" for protocols that are not here yet."""
        return WAYS[self.carrier].origin

    @property
    def is_computed(self) -> bool:
        return self.origin == FORMULA


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked for: all of it, combined. Empty means the carrier's own default."""

    suites: Sequence[str] = ()
    carriers: Sequence[str] = ()
    modes: Sequence[str] = ()
    natt: Sequence[bool] = (False,)
    outer: Sequence[int] = ()
    esn: bool = False
    implicit_iv: bool = False
    ipcomp: bool = False
    tfc: int = 0

    @property
    def names_something(self) -> bool:
        return bool(self.suites or self.carriers)


def variants(question: Question, version: int) -> list[Variant]:
    """Every variant asked for, for inner packets of this IP version; OverheadError where one cannot be."""
    carriers = [_carrier(word) for word in question.carriers] or [Carrier.ESP]
    _check_question(question, carriers)
    suites = [_Asked(text, question) for text in question.suites]
    found = [variant for carrier in carriers for variant in _of_carrier(carrier, suites, question, version)]
    for asked in suites:
        if not asked.used:
            raise OverheadError(asked.problem)
    return list(dict.fromkeys(found))


def usual(question: Question, version: int) -> list[Variant]:
    """What a comparison shows where nothing is named: the usual suites, and what competes with them."""
    found: list[Variant] = []
    for carrier in Carrier:
        if _cannot(carrier, question):
            continue
        texts = USUAL_SUITES if carrier in _IPSEC and not question.implicit_iv else ()
        asked = [_Asked(text, question) for text in texts]
        found += _of_carrier(carrier, asked, question, version)
    return list(dict.fromkeys(found))


def _cannot(carrier: Carrier, question: Question) -> bool:
    """Whether a carrier is left out of a comparison that did not name it."""
    if question.tfc and carrier not in (Carrier.ESP, Carrier.PLAIN, Carrier.WIREGUARD, Carrier.TLS):
        return True
    if carrier is Carrier.AH:
        return True in question.natt
    return carrier is Carrier.IPTFS and question.ipcomp


class _Asked:
    """A suite by its text, tried with each carrier; some carrier must take it."""

    def __init__(self, text: str, question: Question) -> None:
        self._text = text
        self._question = question
        self.used = False
        self.problem = (
            f"suite {text!r}: none of the protocols asked for takes a suite; add esp or ah, or leave it out"
        )

    def fit(self, carrier: Carrier) -> Suite | None:
        question = self._question
        try:
            suite = parse_suite(
                self._text, ah=carrier is Carrier.AH, esn=question.esn, iiv=question.implicit_iv
            )
        except OverheadError as error:
            self.problem = str(error)
            return None
        self.used = True
        return suite


def _of_carrier(
    carrier: Carrier, suites: list[_Asked], question: Question, version: int
) -> Iterator[Variant]:
    way = WAYS[carrier]
    if carrier is Carrier.PLAIN:
        yield Variant(carrier, None, None, version)
    elif way.default_mode is None:
        yield from (Variant(carrier, None, None, outer) for outer in question.outer or (version,))
    else:
        fitting = _fitting(carrier, suites, question)
        modes = [_mode(word) for word in question.modes if carrier is not Carrier.IPTFS] or [way.default_mode]
        outers = question.outer or (version,)
        for suite, mode, natt, outer in product(fitting, modes, question.natt, outers):
            _check(carrier, mode, natt, outer, version)
            _check_content(question, carrier, mode)
            yield Variant(carrier, suite, mode, outer, natt, question.ipcomp, question.tfc)


def _fitting(carrier: Carrier, suites: list[_Asked], question: Question) -> list[Suite]:
    asked = suites or [_Asked(WAYS[carrier].default_suite, question)]
    found = [suite for one in asked if (suite := one.fit(carrier)) is not None]
    if not suites and not found:
        raise OverheadError(asked[0].problem)
    return found


def _check_question(question: Question, carriers: Sequence[Carrier]) -> None:
    """Nothing that was asked for may go unheard."""
    for outer in question.outer:
        if outer not in (4, 6):
            raise OverheadError(f"there is no IP version {outer} around a packet: it is 4 or 6")
    names = ", ".join(WAYS[carrier].title for carrier in carriers)
    if all(WAYS[carrier].default_mode is None for carrier in carriers):
        for what, given in (
            ("mode", question.modes),
            ("NAT-T", True in question.natt),
            ("ESN", question.esn),
            ("IPComp", question.ipcomp),
            ("TFC padding", question.tfc),
        ):
            if given:
                raise OverheadError(f"{names} has no choice of {what}; leave it out, or add --protocol esp")
    if question.modes and carriers == [Carrier.IPTFS]:
        raise OverheadError("IP-TFS always carries whole packets; leave the mode out, or add --protocol esp")
    if question.implicit_iv and not set(carriers) & _ENCRYPTING:
        raise OverheadError(f"{names} has no IV to be implicit; leave that out, or add --protocol esp")
    if question.outer and carriers == [Carrier.PLAIN]:
        raise OverheadError(f"nothing is around {names}; leave the outer version out")


def _check(carrier: Carrier, mode: Mode, natt: bool, outer: int, version: int) -> None:
    if natt and carrier is Carrier.AH:
        raise OverheadError(
            "AH cannot pass a NAT: its ICV covers the addresses that a NAT changes (RFC 4302 3.3.3.1), and "
            "only ESP is put into UDP (RFC 3948 1); take ESP, with null encryption if others must read it, "
            "or leave NAT-T out"
        )
    if mode is Mode.TRANSPORT and carrier in _IPSEC and outer != version:
        raise OverheadError(
            f"transport mode keeps the packet's own IPv{version} header, so nothing of IPv{outer} is around "
            f"it; take tunnel mode, or inner packets of IPv{outer}"
        )


def _check_content(question: Question, carrier: Carrier, mode: Mode) -> None:
    """What may be done to inner packets before they are sealed."""
    if question.ipcomp and carrier is Carrier.IPTFS:
        raise OverheadError("IP-TFS compresses nothing (its packets are aggregates); leave IPComp out")
    if not question.tfc:
        return
    if question.ipcomp:
        raise OverheadError("TFC padding and IPComp undo each other: take one of them")
    if carrier in (Carrier.AH, Carrier.IPTFS) or mode is Mode.TRANSPORT:
        raise OverheadError(
            "TFC padding stands behind a whole packet inside ESP, whose header says where it ends: take ESP "
            "in tunnel mode (RFC 4303 2.7)"
        )


def _carrier(word: str) -> Carrier:
    return Carrier(choice(word, [carrier.value for carrier in Carrier], "protocol"))


def _mode(word: str) -> Mode:
    return Mode(choice(word, [Mode.TUNNEL.value, Mode.TRANSPORT.value], "mode"))


def choice(word: str, known: Sequence[str], what: str) -> str:
    """The word, if it is known; OverheadError with what was perhaps meant."""
    if word in known:
        return word
    near = get_close_matches(word.lower(), known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise OverheadError(f"{word!r} is no {what} of this study: {hint}it knows {', '.join(known)}")


_IPSEC = (Carrier.ESP, Carrier.AH)
_ENCRYPTING = {Carrier.ESP, Carrier.GRE, Carrier.L2TP, Carrier.IPTFS}
