"""The rows of the table: each a fault, and the system whose cluster it breaks."""

from typing import Literal, NamedTuple

from simulator.campaign import faults, relay_faults
from simulator.campaign.faults import Fault


class Row(NamedTuple):
    """A fault, and the system whose cluster it breaks; one system is both."""

    fault: Fault
    system: Literal["orders", "payments"] = "orders"


ONE_SYSTEM = {
    "primary killed": Row(faults.primary_killed),
    "primary split": Row(faults.primary_split),
    "primary frozen": Row(faults.primary_frozen),
    "standby, then primary killed": Row(faults.standby_then_primary_killed),
    "etcd without quorum": Row(faults.etcd_without_quorum),
    "disk full": Row(faults.disk_full),
    "proxies killed": Row(faults.proxies_killed),
    "web server killed": Row(faults.web_server_killed),
    "rolling deploy": Row(faults.rolling_deploy),
}
TWO_SYSTEMS = {
    "orders: primary killed": Row(faults.primary_killed),
    "orders: primary split": Row(faults.primary_split),
    "payments: primary killed": Row(faults.primary_killed, "payments"),
    "payments: primary split": Row(faults.primary_split, "payments"),
    "relay killed": Row(relay_faults.relay_killed),
    "relay cut off": Row(relay_faults.relay_cut_off),
}
SHORT_OF_ONE = ("primary killed", "primary split")
SHORT_OF_TWO = ("payments: primary split", "relay cut off")
