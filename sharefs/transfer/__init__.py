"""Which bytes do we lack, and whom do we ask? Pure; one door, `machine.Transfer.handle`.

`events` and `effects` are what goes in and out. `machine` is the door; what happened goes to
`wants` (who waits), `devices` (who is online, and says what) or `arrivals` (chunks, and the disk),
which note it in the `books`. `stages` tells where a content stands, `asking` whom to ask about it,
`schedule` which chunk to ask of whom, `credit` how much may be under way; `content` and `peers` are
what is known of each, `ahead` how far ahead of a reader bytes are wanted, `bitmap` sets of chunks,
`line` and `timers` who is next and when, `snapshot` what a person is shown, `limits` how fast bytes
may come.

Rejected: a heap of chunks for each priority (a holder of some chunks makes it skip, and put back,
most of them; sets of chunks as whole numbers answer "the first that is wanted and that this
holder has" in one machine word for 30 chunks); asking two holders for the last chunks of a
content (credit by time keeps the slower one's share of the tail at half a second); an agent for
each content (credit belongs to a device, so they would share all their state).
"""
