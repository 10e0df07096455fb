#!/usr/bin/env python3
"""The links, addresses and routes of this network namespace, a line each, without what is drawn anew each time."""

import json
import re
import subprocess

# Addresses that a config or a twin's host gives; the others are the kernel's or random.
GIVEN = ("02:00:00:00:00:0", "00:16:3e:aa:")


def ip(*words):
    output = subprocess.run(["ip", "-j", *words], capture_output=True, text=True, check=True).stdout
    return json.loads(output or "[]")


def name(text):
    return re.sub(r"^veth\w{6}$", "vethXXXXXX", text)


def hardware(text, host_end):
    if text.startswith(GIVEN) or text == "00:00:00:00:00:00":
        return text
    # What the kernel draws may begin so, too.
    return "fe:..." if host_end and text.startswith("fe:") else "random"


def link(entry):
    info = entry.get("linkinfo", {})
    data = info.get("info_data", {})
    host_end = entry["ifname"].startswith(("veth", "twin"))
    words = [name(entry["ifname"]), "up" if "UP" in entry["flags"] else "down", f"mtu {entry['mtu']}",
             hardware(entry["address"], host_end), info.get("info_kind", "-"), f"master {entry.get('master', '-')}",
             f"mode {data.get('mode', '-')}", f"id {data.get('id', '-')}",
             f"queues {entry.get('num_tx_queues')} {entry.get('num_rx_queues')}"]
    return "link " + " ".join(words)


def main():
    lines = [link(entry) for entry in ip("-d", "link")]
    for entry in ip("addr"):
        for address in entry.get("addr_info", []):
            # The kernel's own, from the hardware address.
            if not address["local"].startswith("fe80:") and entry["ifname"] != "lo":
                lines.append(f"address {name(entry['ifname'])} {address['local']}/{address['prefixlen']} "
                             f"{address.get('broadcast', '-')} {address['scope']}")
    for family in ("-4", "-6"):
        for route in ip(family, "route"):
            # The kernel's own come with the addresses, at a time of theirs.
            if route.get("protocol") != "kernel":
                lines.append(f"route {route['dst']} via {route.get('gateway', '-')} dev {name(route['dev'])} "
                             f"{route.get('protocol', '-')} {route.get('scope', '-')} {route.get('metric', '-')}")
    for entry in ip("neigh", "show", "proxy"):
        lines.append(f"proxy {entry['dst']} dev {name(entry['dev'])}")
    print("\n".join(sorted(lines)))


main()
