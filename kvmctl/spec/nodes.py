"""A spec as nodes that know their places: read it, lay one over another, set a single key, write it.

The one door to YAML for the rest of `spec`; reading and writing are in `yaml_reader` and `yaml_writer`. Gives no
meaning to keys or values, and changes no node: what is merged or assigned is a new node.
"""

from __future__ import annotations

from kvmctl.spec.places import Map, Node, Place, spec_error
from kvmctl.spec.yaml_reader import DEPTH_LIMIT, SIZE_LIMIT, read_nodes, read_value
from kvmctl.spec.yaml_writer import to_yaml

__all__ = ["SIZE_LIMIT", "Map", "Node", "Place", "assign", "merge", "plain", "read_nodes", "spec_error", "to_yaml"]


def plain(node: Node) -> object:
    """The node as dict, list, str and None."""
    if node.null:
        return None
    if isinstance(node.value, dict):
        return {key: plain(inner) for key, (_, inner) in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def merge(below: Node, above: Node) -> Node:
    """`above` laid over `below`: maps key by key; a null above takes the key away; of all else, above wins."""
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    keys: Map = dict(below.value)
    for key, (place, node) in above.value.items():
        if node.null:
            keys.pop(key, None)
        elif key in keys:
            keys[key] = (place, merge(keys[key][1], node))
        else:
            keys[key] = (place, node)
    return Node(above.place, keys)


def assign(node: Node, path: str, text: str) -> Node:
    """The node with one key set, as `--set cpu.count=4` says; maps are made on the way.

    An item of a list is named by its `name` or its index: disks.vda.size, networks.0.model.
    """
    place = Place(f"--set {path}={text}", 1, 1)
    steps = path.split(".")
    if not all(steps):
        raise _bad(place, path, "a part of the key is empty", "write it like cpu.count=4")
    if len(steps) > DEPTH_LIMIT:
        raise _bad(place, path, f"the key has more than {DEPTH_LIMIT} parts")
    return _assigned(node, steps, 0, read_value(text, place.file), place)


def _assigned(node: Node, steps: list[str], done: int, value: Node, place: Place) -> Node:
    if done == len(steps):
        return value
    step, so_far, path = steps[done], ".".join(steps[:done]), ".".join(steps)
    if isinstance(node.value, list):
        index = _index(node.value, step)
        if index is None:
            names = [_name(item) or str(number) for number, item in enumerate(node.value)]
            known = f"it has {', '.join(names)}" if names else "it is empty"
            raise _bad(place, path, f"the list '{so_far}' has no item '{step}'", known)
        items = list(node.value)
        items[index] = _assigned(items[index], steps, done + 1, value, place)
        return Node(node.place, items)
    if isinstance(node.value, str) and not node.null:
        hint = f"write '{so_far}' in full in the spec, as a map with keys"
        raise _bad(place, path, f"'{so_far}' is the value '{node.value}' here and has no keys", hint)
    keys = dict(node.value) if isinstance(node.value, dict) else {}
    below = keys[step][1] if step in keys else Node(place, "", null=True)
    keys[step] = (place, _assigned(below, steps, done + 1, value, place))
    return Node(node.place, keys)


def _index(items: list[Node], step: str) -> int | None:
    """The item that has this name, else the one at this index."""
    for index, item in enumerate(items):
        if _name(item) == step:
            return index
    if step.isascii() and step.isdigit() and len(step) < 6 and int(step) < len(items):
        return int(step)
    return None


def _name(item: Node) -> str | None:
    found = item.value.get("name") if isinstance(item.value, dict) else None
    return found[1].value if found and isinstance(found[1].value, str) and not found[1].null else None


def _bad(place: Place, path: str, message: str, hint: str = "") -> Exception:
    return spec_error([place.problem(path, message, hint)])
