"""What does a space look like? Heads become names, folders and conflicts; edits become
versions. Pure.

Rejected: repair records that rename one of two equal names, as the replicas that write them
would clash again; a view computed from all heads at each change, as its cost grows with the
space.
"""
