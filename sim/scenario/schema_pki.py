"""The certification authority that a scenario makes for its nodes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from sim.scenario.schema_types import Duration, FrozenDict, Model, Table
from sim.units import NS_PER_S

KeyType = Literal[
    "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "ed448", "rsa-2048", "rsa-3072", "rsa-4096"
]
YEAR = 365 * 86400 * NS_PER_S


class PkiNode(Model):
    """The certificate of one node, where it differs from the others."""

    key: KeyType | None = None
    """None: as `pki` says."""
    lifetime: Annotated[Duration, Field(ge=NS_PER_S)] = YEAR
    """How long the certificate is valid from the scenario's date on."""
    fault: Literal["none", "expired", "not yet valid", "revoked", "untrusted", "other name"] = "none"
    """What is wrong with it, for labs: `untrusted` is issued by a CA that nobody trusts."""


class Pki(Model):
    """A CA with a certificate for each node; `auto` stands for all defaults.

    Keys come from the scenario's random streams, but those of RSA from OpenSSL: with them the octets of two
    runs differ.
    """

    key: KeyType = "ecdsa-p256"
    """Of all nodes, and of the CAs."""
    intermediate: bool = False
    """Whether a CA below the root issues the certificates; it is sent along with them."""
    nodes: Table[PkiNode] = Field(default_factory=FrozenDict)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"const": "auto"}, dict(handler.resolve_ref_schema(handler(core)))]}

    @model_validator(mode="before")
    @classmethod
    def _auto(cls, data: object) -> object:
        return {} if data == "auto" else data
