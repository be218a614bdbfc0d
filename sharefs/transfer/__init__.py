"""Which bytes do we lack, and whom do we ask? Pure; one door, `machine.Transfer.handle`.

`events` and `effects` are what goes in and out. `machine` is the door; what happened goes to
`wants` (who waits), `devices` (who is online, and says what) or `arrivals` (chunks, and the disk),
which note it in the `books`. `stages` tells where a content stands, `asking` whom to ask about it,
`schedule` which chunk to ask of whom, `seconds` which to ask of somebody else as well, `rarity`
which ones few have, `credit` how much may be under way, `limits` how fast bytes may come; `content`
and `peers` are what is known of each, `bitmap` sets of chunks, `line` and `timers` who is next and
when, `snapshot` what a person is shown, `ahead` what a reader will want next; `tidings` tells
others of what comes here, `yielding` makes room on a full link, and `sparing` cancels what nobody
wants any more.

Rejected: a heap of chunks for each priority (a holder of some chunks makes it skip, and put back,
most of them; sets of chunks as whole numbers answer "the first that is wanted and that this
holder has" in one machine word for 30 chunks); an agent for each content (credit belongs to a
device, so they would share all their state).
"""
