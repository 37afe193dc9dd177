"""The list of commands: where each lives, and its one-line summary. Nothing is imported until it is called."""

REGISTRY: dict[str, tuple[str, str]] = {
    "init": ("kvmctl.commands.init:init", "Write a starter spec."),
    "validate": ("kvmctl.commands.validate:validate", "Check specs; say all mistakes with their places."),
    "xml": ("kvmctl.commands.xml:xml", "Show the libvirt XML of a spec or a VM."),
    "schema": ("kvmctl.commands.schema:schema", "Print the JSON Schema of specs."),
    "create": ("kvmctl.commands.create:create", "Create VMs from specs, with their disks."),
    "export": ("kvmctl.commands.export:export", "Write a VM's spec."),
    "delete": ("kvmctl.commands.delete:delete", "Delete VMs, and their disks if asked."),
    "start": ("kvmctl.commands.start:start", "Start VMs."),
    "stop": ("kvmctl.commands.stop:stop", "Ask VMs to shut down, and wait until they have."),
    "restart": ("kvmctl.commands.restart:restart", "Stop VMs and start them again."),
    "reset": ("kvmctl.commands.reset:reset", "Press the reset button of VMs."),
    "pause": ("kvmctl.commands.pause:pause", "Hold the vCPUs of VMs."),
    "resume": ("kvmctl.commands.resume:resume", "Let paused VMs go on."),
    "autostart": ("kvmctl.commands.autostart:autostart", "Start VMs with their host, or no longer."),
    "wait": ("kvmctl.commands.wait:wait", "Wait until VMs are running or stopped."),
    "list": ("kvmctl.commands.list:list_", "List VMs."),
    "show": ("kvmctl.commands.show:show", "Show VMs: state, configuration, addresses, disks, networks, pins, devices."),
    "console": ("kvmctl.commands.console:console", "Connect to a VM's serial console."),
    "pin": ("kvmctl.commands.pin:pin", "Where VMs run: vCPUs, helper threads and memory on the host's CPUs and nodes."),
    "pci": ("kvmctl.commands.pci:pci", "PCI devices of a host, and VMs that have them."),
    "usb": ("kvmctl.commands.usb:usb", "USB devices of a host, and VMs that have them."),
    "scsi": ("kvmctl.commands.scsi:scsi", "SCSI devices of a host, and VMs that have them."),
    "migrate": ("kvmctl.commands.migrate:migrate", "Move VMs to another host."),
    "drain": ("kvmctl.commands.drain:drain", "Move every VM of a host to others, and back."),
    "host": ("kvmctl.commands.host:host", "Hosts: list, show, topology, hugepages, check."),
}

SECTIONS: dict[str, tuple[str, ...]] = {
    "Define": ("init", "validate", "xml", "schema", "create", "export", "delete"),
    "Run": ("start", "stop", "restart", "reset", "pause", "resume", "autostart", "wait"),
    "Look": ("list", "show", "console"),
    "CPU": ("pin",),
    "Devices": ("pci", "usb", "scsi"),
    "Hosts": ("migrate", "drain", "host"),
}
