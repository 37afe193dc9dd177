"""What a placement costs: the definition of every criterion, and of what a wish may use at all.

Of the CPUs of a host, for a wish W and the other VMs (tenants; whether those that do not run count is the caller's
choice):

load(c)      how many vCPUs of others are pinned to sets with c in them, and how many of their helpers that were pinned
             by hand (those of a tenant that is not `automatic`)
held(c)      c belongs to an exclusive tenant: it is in the set of one of its vCPUs, or, with `whole_cores`, a thread of
             the same core is
foreign(k)   a vCPU of another VM is pinned to a set with a thread of core k in it
usable(c)    c is online, within W.cpus and W.nodes where those are given, and not held; besides
             - for an exclusive wish, load(c) is 0; with own_core as well, it is 0 for all online threads of c's core
             - for own_core, siblings or isolate, c's core is not foreign

Pooled tenants count nowhere, except for their memory.

A placement chooses as many usable CPUs as there are vCPUs; each CPU at most once. own_core: at most one of each core.
siblings: at most one core of which only some of the online threads are chosen. N are the nodes of the chosen CPUs.

Memory. available(n) is given for each node (see `memory.py`). What does not fit on N goes to the nearest other nodes
that have some, within W.nodes where given: in order of their summed distance to N, then of their number, until it fits.
Those are E. If it fits nowhere, the placement is possible only if the wish is not strict and wants no huge pages; then
the rest is overcommitted.

The criteria, in order, each the less the better:

overcommit     the sum of load(c) over the chosen CPUs
remote_memory  bytes that do not fit on N
distance       the sum of distance(a, b) (both directions, less 20) over all pairs within N, plus all pairs of E and N,
               plus all pairs of a device's node in W.near and N
neighbours     isolate: L3 groups used in which a vCPU of another VM is pinned to a CPU; otherwise 0
caches         compact, isolate: L3 groups used. spread: L3 groups with a usable CPU on the nodes N, less those used
cores          own_core: 0. spread with share: vCPUs beyond the first of each core, plus foreign cores used. Otherwise:
               cores used that are foreign, or of which not all online threads are chosen
helpers        W.helpers times 0 if a helper CPU is left on N, times 1 if one is left elsewhere, times 2 if none is.
               A helper CPU is online, not isolated, not held, and not on a core with a chosen CPU. Helpers float over
               those on N; else over those of the other node nearest to N; of these, over those with load 0 if there
               are any. Where no helper CPU is left, they float over the chosen CPUs. W.cpus and W.nodes do not bind
               them
fragments      for each L3 group used and for each node of N, the CPUs left: online, load 0, not held, not chosen, and
               for an exclusive own_core wish not on a core with a chosen CPU
"""
