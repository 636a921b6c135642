"""Ports for servers of tests: the kernel gives each process its own, however many run at once."""

import socket


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
