"""What touches a real host: the only package that imports libvirt."""
