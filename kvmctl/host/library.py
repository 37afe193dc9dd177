"""The libvirt module, loaded when a host is first spoken to, and kept from writing to the screen.

Where Python finds none, or a broken one, importing this module says in a line what to install.
"""

from __future__ import annotations

import os

from kvmctl.errors import KvmctlError

# libvirt reads these once, while it is loaded, and would write its warnings to stderr.
# Whoever set one of them wants to see what it says.
_QUIET = {"LIBVIRT_LOG_OUTPUTS": "4:file:/dev/null"}
_SETTINGS = ("LIBVIRT_DEBUG", "LIBVIRT_LOG_FILTERS", "LIBVIRT_LOG_OUTPUTS")

_quieted = not any(os.environ.get(name) for name in _SETTINGS)
if _quieted:
    os.environ.update(_QUIET)
try:
    import libvirt

    # Without a handler of its own libvirt prints each error before it raises it.
    libvirt.registerErrorHandler(lambda context, error: None, None)
except Exception as problem:
    raise KvmctlError(
        "libvirt-missing",
        f"Python finds no usable libvirt module: {problem}",
        hint="install it: python3-libvirt on Debian and Fedora, libvirt-python on Arch",
    ) from problem
finally:
    if _quieted:
        # Not for the programs that we start.
        for _name in _QUIET:
            os.environ.pop(_name, None)

__all__ = ["libvirt"]
