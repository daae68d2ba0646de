"""EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2 2, RFC 2759 4 to 6): a password, both ways, and a key.

    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |    OpCode     | MS-CHAPv2-ID  |          MS-Length            |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |  Data ...     peer's Success and Failure: the OpCode alone
    +-+-+-+-+-+-+-+-+

    Challenge  Value-Size (16), challenge, name
    Response   Value-Size (49), peer's challenge (16), zeros (8), NT-Response (24), flags (1), name
    Success    "S=<40 hex digits> M=<message>"
    Failure    "E=691 R=0 C=<32 hex digits> V=3 M=<message>"

A new password or another attempt, which people are asked for, is left out: a refusal is final.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import IntEnum
from hmac import compare_digest
from struct import Struct

from sim.ike.eap import mschap
from sim.ike.eap.method import EapError, printable, unknown_user
from sim.ike.events import Reason
from sim.wire.buffer import Reader, WireError
from sim.wire.value import quick

_HEAD = Struct(">BBH")  # OpCode, MS-CHAPv2-ID, MS-Length
_RESPONSE = Struct(">B16s8s24sB")  # Value-Size, peer's challenge, reserved, NT-Response, flags
_VALUE_BYTES = _RESPONSE.size - 1
_CHALLENGE_BYTES = 16
_AUTHENTICATOR = re.compile(rb"S=([0-9A-Fa-f]{40})(?: |$)")
_ERROR = re.compile(rb"E=([0-9]{1,10})(?: |$)")
_ERRORS = {
    646: "restricted logon hours",
    647: "account disabled",
    648: "password expired",
    649: "no dial-in permission",
    691: "authentication failure",
    709: "changing password",
}
"""RFC 2759 6."""


@quick
class OpCode(IntEnum):
    CHALLENGE = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class MschapPeer:
    def __init__(self, name: bytes, secret: bytes, rand: Callable[[int], bytes]) -> None:
        self._name, self._hash = name, mschap.password_hash(text_of(secret))
        self._rand = rand
        self._expected = b""
        self._response = b""
        self.msk = b""
        self.satisfied = False
        self.refusal: EapError | None = None

    def answer(self, identifier: int, data: bytes, now: int) -> bytes:
        opcode, number, body = _parse(data)
        if opcode == OpCode.CHALLENGE:
            return self._respond(number, body)
        if opcode == OpCode.SUCCESS and self._response:
            return self._conclude(body)
        if opcode == OpCode.FAILURE and self._response:
            self.refusal = _refusal(self._name, body)
            return bytes((OpCode.FAILURE,))
        raise WireError(f"MSCHAPv2 OpCode {opcode} out of place")

    def _respond(self, number: int, body: Reader) -> bytes:
        if body.take(1)[0] != _CHALLENGE_BYTES:
            raise WireError("an MSCHAPv2 challenge that has not 16 octets")
        theirs, ours = body.take(_CHALLENGE_BYTES), self._rand(_CHALLENGE_BYTES)
        response = mschap.nt_response(theirs, ours, self._name, self._hash)
        self._response = response
        self._expected = mschap.authenticator_response(self._hash, response, ours, theirs, self._name)
        value = _RESPONSE.pack(_VALUE_BYTES, ours, b"", response, 0)
        return _emit(OpCode.RESPONSE, number, value + self._name)

    def _conclude(self, body: Reader) -> bytes:
        """The server has our password's hash as well, or only says so."""
        found = _AUTHENTICATOR.match(body.rest())
        if found is None or not compare_digest(bytes.fromhex(found[1].decode()), self._expected):
            text = f"the server accepts {printable(self._name)}, but did not prove that it knows the password"
            raise EapError(Reason.WRONG_PASSWORD, text)
        self.msk = mschap.msk(self._hash, self._response)
        self.satisfied = True
        return bytes((OpCode.SUCCESS,))


class MschapServer:
    """`secret` None: nobody of that name is known, which the peer is not told."""

    def __init__(self, name: bytes, user: bytes, secret: bytes | None, rand: Callable[[int], bytes]) -> None:
        self._name, self._user = name, user
        self._hash = None if secret is None else mschap.password_hash(text_of(secret))
        self._challenge = rand(_CHALLENGE_BYTES)
        self._rand = rand
        self._number = 0
        self.failure: EapError | None = None
        self._key = b""
        self.msk = b""

    def begin(self, identifier: int) -> bytes:
        self._number = identifier
        return _emit(OpCode.CHALLENGE, identifier, bytes((_CHALLENGE_BYTES,)) + self._challenge + self._name)

    def judge(self, identifier: int, data: bytes, now: int) -> bytes | None:
        if self.failure is not None:
            raise self.failure  # whatever the peer says to that
        opcode = data[0] if data else 0
        if self._key:
            if opcode != OpCode.SUCCESS:
                text = f"{printable(self._user)} did not accept our proof that we know the password"
                raise EapError(Reason.WRONG_PASSWORD, text)
            self.msk = self._key
            return None
        opcode, number, body = _parse(data)
        if opcode != OpCode.RESPONSE or number != self._number:
            raise WireError(f"MSCHAPv2 OpCode {opcode} where there must be a response")
        return self._check(body)

    def _check(self, body: Reader) -> bytes:
        size, theirs, _, response, _ = body.unpack(_RESPONSE)
        name = body.rest()
        if size != _VALUE_BYTES:
            raise WireError(f"an MSCHAPv2 response of {size} octets")
        if self._hash is None or not self._is_user(name):
            return self._refuse(unknown_user(self._user, name))
        if not compare_digest(response, mschap.nt_response(self._challenge, theirs, name, self._hash)):
            return self._refuse(
                EapError(Reason.WRONG_PASSWORD, f"{printable(self._user)} gave a wrong password")
            )
        proof = mschap.authenticator_response(self._hash, response, theirs, self._challenge, name)
        self._key = mschap.msk(self._hash, response)
        return _emit(OpCode.SUCCESS, self._number, b"S=" + proof.hex().upper().encode() + b" M=welcome")

    def _is_user(self, name: bytes) -> bool:
        """Either may leave the domain out (RFC 2759 4), but two domains must be one."""
        return name in (self._user, mschap.user_of(self._user)) or mschap.user_of(name) == self._user

    def _refuse(self, failure: EapError) -> bytes:
        self.failure = failure
        again = self._rand(_CHALLENGE_BYTES).hex().upper()
        return _emit(OpCode.FAILURE, self._number, f"E=691 R=0 C={again} V=3 M=refused".encode())


def text_of(secret: bytes) -> str:
    """A password as text; octets that are no UTF-8 count one by one."""
    try:
        return secret.decode()
    except UnicodeDecodeError:
        return secret.decode("latin-1")


def _refusal(name: bytes, body: Reader) -> EapError:
    found = _ERROR.match(body.rest())
    number = int(found[1]) if found else 0
    reason = Reason.WRONG_PASSWORD if number == 691 else Reason.EAP_FAILURE
    meaning = _ERRORS.get(number, "unknown error")
    text = f"the server does not accept {printable(name)} with our password: {meaning} ({number})"
    return EapError(reason, text, by_peer=True)


def _emit(opcode: OpCode, number: int, body: bytes) -> bytes:
    return _HEAD.pack(opcode, number, _HEAD.size + len(body)) + body


def _parse(data: bytes) -> tuple[int, int, Reader]:
    reader = Reader(data)
    opcode, number, length = reader.unpack(_HEAD)
    if length != len(data):
        raise WireError(f"an MSCHAPv2 packet of {length} octets in {len(data)}")
    return opcode, number, reader
