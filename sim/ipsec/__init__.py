"""The IPsec data plane of RFC 4301 and RFC 4303: policies, SAs, the replay window and ESP itself."""
