"""IKEv2's procedures, one a file. Each is a Task: a part of one or several exchanges (see `base`)."""
