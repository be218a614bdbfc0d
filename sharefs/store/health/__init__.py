"""Is what is on this disk as it should be, and what can be mended?

Each module examines one kind of thing, and yields `Finding`s; with a store to write to, it mends as
it goes. Whatever is read is read in order and let go, so that memory does not grow with what there
is. Nothing that could be the only copy of something is removed: what can not stand where it is is
kept in the home's folder `set-aside`.
"""
