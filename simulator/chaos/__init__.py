"""A proxy that breaks HTTP on purpose, between a client and a server, and counts what it broke."""

from simulator.chaos.faults import LOSSES, LOST_RESPONSES, Fault
from simulator.chaos.proxy import ChaosProxy

__all__ = ["LOSSES", "LOST_RESPONSES", "ChaosProxy", "Fault"]
