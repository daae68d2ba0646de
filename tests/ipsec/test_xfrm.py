"""Every reason for a drop has a name that /proc/net/xfrm_stat of Linux has (net/xfrm/xfrm_proc.c)."""

from __future__ import annotations

from collections import Counter

import pytest

from sim.ipsec.verdict import Reason
from sim.ipsec.xfrm import NAMES, NO_STATE, arriving, in_order, is_known, leaving

XFRM_STAT = """\
XfrmInError XfrmInBufferError XfrmInHdrError XfrmInNoStates XfrmInStateProtoError XfrmInStateModeError
XfrmInStateSeqError XfrmInStateExpired XfrmInStateMismatch XfrmInStateInvalid XfrmInTmplMismatch XfrmInNoPols
XfrmInPolBlock XfrmInPolError XfrmOutError XfrmOutBundleGenError XfrmOutBundleCheckError XfrmOutNoStates
XfrmOutStateProtoError XfrmOutStateModeError XfrmOutStateSeqError XfrmOutStateExpired XfrmOutPolBlock
XfrmOutPolDead XfrmOutPolError XfrmFwdHdrError XfrmOutStateInvalid XfrmAcquireError
XfrmOutStateDirError XfrmInStateDirError XfrmInIptfsError XfrmOutNoQueueSpace
"""


def test_the_names_are_those_of_linux_in_its_order() -> None:
    assert " ".join(XFRM_STAT.split()) == " ".join(NAMES)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_name_of_its_own(reason: Reason) -> None:
    assert is_known(reason), "give it a place in sim/ipsec/xfrm.py"
    assert arriving(reason) in NAMES
    assert arriving(reason).startswith("XfrmIn")
    assert leaving(reason) in NAMES
    assert leaving(reason).startswith(("XfrmOut", "XfrmFwd"))


def test_a_reason_of_both_directions_has_two_names() -> None:
    assert (arriving(Reason.DISCARD_POLICY), leaving(Reason.DISCARD_POLICY)) == (
        "XfrmInPolBlock",
        "XfrmOutPolBlock",
    )


def test_zeros_are_left_out() -> None:
    assert in_order(Counter({NO_STATE: 2, "XfrmInError": 1, "XfrmInNoPols": 0})) == {
        "XfrmInError": 1,
        NO_STATE: 2,
    }
