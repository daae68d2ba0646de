"""strongSwan agrees with us on IPComp (RFC 7296 2.22).

Its CPIs come from the kernel, ESP in user space has none. Where the kernel cannot do ESP its Child SA fails
afterwards, so that here only the negotiation is judged; tshark inflates what our captures hold.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.experiment.decode import decode
from sim.ike.events import ChildSaUp
from tests.interop.netns import Lab
from tests.interop.ping import ping
from tests.interop.scene import Role, set_up
from tests.interop.strongswan import PLUGINS
from tests.peers import require

OURS, THEIRS = {"child_settings": {"ipcomp": True}}, {"child_settings": {"ipcomp": "yes"}}
IN_KERNEL = f"load = {PLUGINS.replace('kernel-libipsec ', '')}"

pytestmark = pytest.mark.peers


def test_c55_strongswan_takes_our_answer_to_its_offer(lab: Lab) -> None:
    scene = set_up(lab, "we respond", ours=OURS, theirs=THEIRS, daemon=IN_KERNEL)
    scene.attempt()

    scene.theirs.expect(r"generating IKE_AUTH request 1 \[.*N\(IPCOMP_SUP\)")
    scene.theirs.expect(r"parsed IKE_AUTH response 1 \[.*N\(IPCOMP_SUP\)")
    assert "didn't accept our proposed IPComp" not in scene.theirs.log()
    up = scene.ours.event(ChildSaUp)
    assert up.cpi_in
    assert up.cpi_out


def test_c55_strongswan_reads_our_offer(lab: Lab) -> None:
    scene = set_up(lab, "we initiate", ours=OURS, theirs=THEIRS, daemon=IN_KERNEL)
    scene.attempt()
    scene.theirs.expect(r"parsed IKE_AUTH request 1 \[.*N\(IPCOMP_SUP\)")
    assert "IPCOMP_SUPPORTED notify with a" not in scene.theirs.log()


def test_c55_an_offer_that_strongswan_declines_leaves_a_tunnel_without(lab: Lab, role: Role) -> None:
    scene = set_up(lab, role, ours=OURS, theirs=THEIRS)
    scene.establish()
    assert ping(scene.ours.namespace, scene.their_inner, size=1300).received == 1
    assert ping(scene.theirs.namespace, scene.our_inner, size=1300).received == 1


def test_tshark_inflates_each_packet_to_what_was_sent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Compressed are the large ping, its answer and the flow that compresses."""
    require("tshark")
    sim.run("topologies/ipcomp.yaml", out=tmp_path)
    for shown, packets in (("icmp", 2), ("udp.dstport == 9", 100)):
        what = f'ipcomp && {shown} && frame.interface_name == "carol:eth"'
        assert decode(tmp_path, ["-Y", what, "-T", "fields", "-e", "udp.length", "-e", "data.data"]) == 0
        lines = capfd.readouterr().out.splitlines()
        assert len(lines) == packets, shown
        assert all("deadbeef" * 2046 in line or "48656c6c6f2c20" * 100 in line for line in lines)
