"""A run's capture as tshark shows it, decrypted with the run's own keys."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from sim.tunnels.keylog import KEY_FILES, damaged_line
from sim.wire.buffer import WireError
from sim.wire.pcapng import read_capture

_STDOUT = 1
_PREFERENCES = (
    "esp.enable_encryption_decode:TRUE",
    "esp.enable_authentication_check:TRUE",
)


class DecodeError(Exception):
    """There is nothing to decode, or nothing to decode it with; the text says what to do."""


def decode(folder: str | Path, options: Sequence[str] = ()) -> int:
    """Show `capture.pcapng` of a run's folder on the standard output; tshark's exit status.

    That is 0 where nobody wanted to read on, such as `head`.
    `options` are tshark's own, such as `-V` or `-Y isakmp`. The keys go into a Wireshark profile of their
    own, which is removed afterwards: yours is neither read nor changed.
    """
    capture = Path(folder) / "capture.pcapng"
    if not capture.is_file():
        raise DecodeError(f"{capture}: not there; `ipsec-sim run TOPOLOGY --out {folder}` makes it")
    _check(capture)
    _check_keys(Path(folder))
    tshark = shutil.which("tshark")
    if tshark is None:
        raise DecodeError("tshark is not installed: on Debian, `apt install tshark`")
    with TemporaryDirectory(prefix="ipsec-sim-") as profile:
        copy_keys(Path(folder), Path(profile))
        command = [tshark, "-r", str(capture), *preferences(), *options]
        environment = os.environ | {"WIRESHARK_CONFIG_DIR": profile}
        status = subprocess.run(command, env=environment, check=False).returncode
    return 0 if _nobody_reads() else status


def _nobody_reads() -> bool:
    """Whether the standard output is a pipe whose reader has seen enough, such as `head`."""
    poll = select.poll()
    poll.register(_STDOUT, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _check(capture: Path) -> None:
    """tshark takes files of many kinds for captures of some kind; it tells where one is cut off."""
    try:
        next(iter(read_capture(capture)), None)
    except WireError as error:
        raise DecodeError(f"{capture}: {error}") from None


def _check_keys(folder: Path) -> None:
    """tshark says little of keys that it cannot read, and shows the packets as if all were well."""
    for name in KEY_FILES:
        file = folder / "keys" / name
        line = damaged_line(name, file.read_text(errors="replace")) if file.is_file() else None
        if line is not None:
            raise DecodeError(f"{file}:{line}: damaged: this is no row that a run writes; make the run again")


def preferences() -> list[str]:
    """The options that make tshark decrypt ESP and verify its ICVs."""
    return [word for preference in _PREFERENCES for word in ("-o", preference)]


def copy_keys(folder: Path, profile: Path) -> None:
    """Make the keys of a run's folder those of a Wireshark profile."""
    for name in KEY_FILES:
        source = folder / "keys" / name
        if source.is_file():
            shutil.copyfile(source, profile / name)
