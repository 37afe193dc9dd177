"""What a spec can say, declared once: each field with its place in libvirt's domain XML and its documentation.

https://libvirt.org/formatdomain.html is the source of every path. To cover more of it, add a field, or a class.
"""
