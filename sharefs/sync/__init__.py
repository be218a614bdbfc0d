"""Which records does a peer lack? Passes by frontier, and pushes of new commits. Pure.

Rejected: acknowledged outboxes per peer, as they grow while a peer is away; merging a frontier page
by page, as a pass that is cut off would then claim records it does not hold (I6).
"""
