"""What is true? Ids, records, commits, entries, contents, and their canonical bytes. Pure.

Rejected: signing each record (see `commit`); a context of the immediate parents only, and a
frontier bumped per author, both of which left histories diverged (DESIGN, section 4); item ids
that hide who created the item, which would need the creator repeated, and checked, in every
version.
"""
