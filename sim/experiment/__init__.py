"""Running a scenario and reading what happened: capture, events, flows, checks, reports."""
