"""What joins the network, the data plane and IKEv2: IPsec nodes and their key logs."""
