"""Every NAT in front of the initiator against every NAT in front of the responder: `ipsec-sim grid`.

Empty, so that the command line can name its error without loading pandas and all that a run needs.
"""
