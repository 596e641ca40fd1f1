"""A cage of namespaces that a process builds around itself, for a host that was forked and not started."""
