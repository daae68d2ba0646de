"""AGGFRAG SAs: aggregation, fragmentation and traffic flow confidentiality (RFC 9347)."""
