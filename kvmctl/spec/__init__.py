"""YAML text <-> dataclasses <-> libvirt domain XML. Pure: no libvirt, no click, no host, no decisions."""
