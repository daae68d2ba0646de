"""The passwords of swanctl.conf's `secrets.eap*` sections, as a connection has them.

strongSwan takes a client's as any other secret, by who both sides are; a server's by the user's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.ike.eap.names import METHODS, PASSWORD_METHODS
from sim.ike.eap.packets import EapType
from sim.ike.identity import Identity
from sim.scenario.schema_types import format_secret
from sim.scenario.swanctl.secrets import SharedSecret, choose


def passwords(secrets: Sequence[SharedSecret], settings: Mapping[str, Any]) -> dict[str, str]:
    """`eap_secrets` of a connection; ValueError when the one that it needs is not there.

    If there is a second round of authentication, no other is by EAP.
    """
    local, remote = (settings[side].get("second") or settings[side] for side in ("local", "remote"))
    if _by_password(remote):
        return _of_users(secrets, settings["local_id"])
    if _by_password(local):
        name = local.get("id") if "second" in settings["local"] else settings["local_id"]
        return _own(secrets, local, name, settings["remote_id"])
    return {}


def _by_password(side: Mapping[str, Any]) -> bool:
    return any(kind is not EapType.TLS for kind in METHODS.get(side.get("auth", ""), ()))


def _own(
    secrets: Sequence[SharedSecret], local: Mapping[str, Any], local_id: str | None, remote_id: str | None
) -> dict[str, str]:
    name = local.get("eap_id") or local_id
    user = _identity(name)
    fitting = [secret for secret in secrets if {user, None} & set(secret.owners)]
    secret = choose(fitting, user, _identity(remote_id)) if user else None
    if secret is None and local["auth"] in PASSWORD_METHODS:
        raise ValueError(f"no `eap` secret in `secrets` is for {name or 'its address: write `eap_id`'}")
    return {} if secret is None or name is None else {name: format_secret(secret.value)}


def _of_users(secrets: Sequence[SharedSecret], local_id: str | None) -> dict[str, str]:
    """Of those who own a secret together with us, we are not the user."""
    table: dict[str, str] = {}
    for secret in secrets:
        users = [owner for owner in secret.owners if owner is not None]
        others = [owner for owner in users if owner != _identity(local_id)]
        if not users:
            raise ValueError(f"secrets.{secret.name} has no `id`: here a password belongs to a name")
        table |= {str(user): format_secret(secret.value) for user in others or users}
    return table


def _identity(text: str | None) -> Identity | None:
    return None if text is None else Identity.parse(text)
