-- The database of one node. These comments are the authority on columns and invariants.
--
-- Ids are blobs as long as `records.ids` says. Times are milliseconds since 1970 in stamps, seconds
-- (REAL) elsewhere, nanoseconds where the name ends in _ns. Only the node's loop writes.

-- Small facts about this node. Known names: `token`, `next_token`, `machine` (see `database`),
-- `running` (x'01' from open to a clean close), whatever the node keeps under names of its own, and
-- what a person chose: `chosen ["NAME",SCOPE]`, as `node.settings` says.
CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A space that this device is in.
CREATE TABLE space (
    number INTEGER PRIMARY KEY,         -- stands for the space in all other tables
    id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,          -- as shown in the mount
    incarnation BLOB NOT NULL,          -- ours, in this space (I3)
    next_sequence INTEGER NOT NULL      -- of our next record under that incarnation (I2)
        CHECK (next_sequence >= 1),
    told INTEGER NOT NULL DEFAULT 0     -- the last of our sequence that anybody may have been told
) STRICT;

-- The roster's signed operations, in the order of arrival.
CREATE TABLE roster_operation (
    number INTEGER PRIMARY KEY,
    space INTEGER NOT NULL REFERENCES space,
    hash BLOB NOT NULL,
    data BLOB NOT NULL,                 -- canonical bytes
    UNIQUE (space, hash)
) STRICT;

-- Where devices were reached, or were said to be. `last_seen` is 0 for hearsay.
CREATE TABLE device_address (
    device BLOB NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    bulk_port INTEGER NOT NULL,
    last_seen REAL NOT NULL,
    PRIMARY KEY (device, host, port, bulk_port)
) STRICT, WITHOUT ROWID;

-- How good the way to each member's device was, and how often it was there: see `metrics`. What is
-- not here was not measured yet.
CREATE TABLE peer_metrics (
    device BLOB NOT NULL PRIMARY KEY,
    round_trip_s REAL,                  -- the least of late
    down_bytes_per_s REAL NOT NULL,     -- from it to us; 0: not measured
    up_bytes_per_s REAL NOT NULL,
    online_s REAL NOT NULL,             -- of these seconds it was online,
    observed_s REAL NOT NULL,           -- of these we were; what is long past counts less in both
    failures REAL NOT NULL              -- how often it did not send, or sent something else; so, too
) STRICT, WITHOUT ROWID;

-- What devices signed. AUTOINCREMENT, as `number` is the cursor of a pass: a number is never used
-- twice, so a peer's cursor stays true when commits are dropped.
CREATE TABLE "commit" (
    number INTEGER PRIMARY KEY AUTOINCREMENT,   -- order of arrival
    space INTEGER NOT NULL REFERENCES space,
    device BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    digest BLOB NOT NULL,                       -- 16 bytes: of what is signed
    data BLOB NOT NULL,                         -- canonical bytes
    -- Two that overlap prove that their device went astray (I8); both are kept.
    UNIQUE (space, device, incarnation, first, digest)
) STRICT;
-- Which commits of an author are beyond a frontier ...
CREATE INDEX commit_by_last ON "commit" (space, device, incarnation, last);
-- ... and which come after a cursor.
CREATE INDEX commit_by_number ON "commit" (space, device, incarnation, number, last);

-- The heads of all items: what is dominated is deleted. No record is here twice; two records may
-- have one coordinate, if their author went astray, and then each is its own (I8).
CREATE TABLE record (
    number INTEGER PRIMARY KEY,
    space INTEGER NOT NULL REFERENCES space,
    item BLOB NOT NULL,
    device BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    data BLOB NOT NULL,                         -- canonical bytes
    -- 1 if all heads of the item are tombstones, and nothing lives in it, if it is a folder: those are
    -- in no sum, and go one day, as `node.collection` says.
    dead INTEGER NOT NULL DEFAULT 0,
    since REAL NOT NULL DEFAULT 0               -- dead since then; 0 until somebody with a clock saw it
) STRICT;
CREATE INDEX record_dead ON record (space, since, number) WHERE dead = 1;
CREATE INDEX record_by_item ON record (space, item);
CREATE INDEX record_by_coordinate ON record (space, device, incarnation, sequence);

-- What the heads of an author that are not dead add up to, in runs of 256 sequences: see `sums`. A
-- run without such heads has no row.
CREATE TABLE run (
    space INTEGER NOT NULL REFERENCES space,
    device BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    number INTEGER NOT NULL,                    -- sequence / 256
    count INTEGER NOT NULL CHECK (count > 0),   -- of heads
    sum BLOB NOT NULL,                          -- 32 bytes: of their hashes, modulo 2 ^ 256
    PRIMARY KEY (space, device, incarnation, number)
) STRICT, WITHOUT ROWID;

-- The frontier of this replica (I6). Every author of a commit has a row, with sequence 0 while
-- none of its records is covered.
CREATE TABLE frontier (
    space INTEGER NOT NULL REFERENCES space,
    device BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    PRIMARY KEY (space, device, incarnation)
) STRICT, WITHOUT ROWID;

-- How far each other device was, as it said itself, by author: the last frontier that it told while
-- its roster was ours. What all devices have passed can be collected.
CREATE TABLE passed (
    space INTEGER NOT NULL REFERENCES space,
    device BLOB NOT NULL,                       -- who told
    author BLOB NOT NULL,
    incarnation BLOB NOT NULL,                  -- of the author
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    PRIMARY KEY (space, device, author, incarnation)
) STRICT, WITHOUT ROWID;

-- The view: a row for each item's winner and for each loser that is shown, as `records.shown` says.
-- The space's top folder (item of 24 zero bytes) has a row too, made with the space; its parent,
-- anchor and place are empty blobs, so that no folder lists it, and its version is all zeros.
CREATE TABLE entry (
    ino INTEGER PRIMARY KEY CHECK (ino > 1),    -- 1 is the mount's root
    space INTEGER NOT NULL REFERENCES space,
    item BLOB NOT NULL,
    device BLOB NOT NULL,                       -- device, incarnation, sequence: the version
    incarnation BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    loser INTEGER NOT NULL,
    type INTEGER NOT NULL,                      -- records.entry.EntryType
    deleted INTEGER NOT NULL,
    live INTEGER NOT NULL,
    parent BLOB NOT NULL,
    anchor BLOB NOT NULL,
    place BLOB NOT NULL,
    merged BLOB,
    name TEXT NOT NULL,
    shown TEXT NOT NULL,
    created INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    executable INTEGER NOT NULL,
    size INTEGER NOT NULL,
    content BLOB,                               -- not a reference: ghosts have no row in content
    target TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX entry_winner ON entry (space, item) WHERE loser = 0;
CREATE INDEX entry_loser ON entry (space, item) WHERE loser = 1;
-- A folder's listing, and a name in it. A row with a name to show ...
CREATE INDEX entry_shown ON entry (space, place, shown) WHERE live = 1;
-- ... is odd if it is not shown plainly under the name that its writer gave. Few rows are.
CREATE INDEX entry_odd ON entry (space, place, name)
    WHERE live = 1 AND (shown <> name OR merged IS NOT NULL OR loser = 1);
CREATE INDEX entry_anchored ON entry (space, anchor, live);
-- What is not in the folder that it names: few rows are.
CREATE INDEX entry_elsewhere ON entry (space, parent) WHERE anchor <> parent;
CREATE INDEX entry_merged ON entry (space, merged) WHERE merged IS NOT NULL;
CREATE INDEX entry_content ON entry (content) WHERE content IS NOT NULL;

-- A content of which bytes are, or were once, on this disk, as the file `contents/ab/<hex of id>`.
-- A bit is saved only after the bytes that it speaks of were synced.
CREATE TABLE content (
    id BLOB NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size > 0),
    local INTEGER NOT NULL CHECK (local BETWEEN 0 AND size),    -- bytes here; all: it is complete
    suspect INTEGER NOT NULL,                   -- 1 if its chunks must be verified before use
    bitmap BLOB,                                -- lowest bit of the first byte first; NULL: all
    base BLOB,                                  -- the content over which its file lies: see `layer`
    CHECK ((bitmap IS NULL) = (local = size))
) STRICT, WITHOUT ROWID;
CREATE INDEX content_partial ON content (id) WHERE local < size;
CREATE INDEX content_by_base ON content (base) WHERE base IS NOT NULL;

-- Contents that were of a version which a later one has replaced, when no row was left that has
-- them, be their bytes on this disk or not. A content is never here for any other reason, nor because
-- something is not there.
CREATE TABLE superseded (
    content BLOB NOT NULL,                      -- not a reference: there may be no row in content
    space INTEGER NOT NULL REFERENCES space,    -- where that happened
    number INTEGER NOT NULL,                    -- of the commit that had arrived last there by then
    since REAL NOT NULL,                        -- 0 until somebody with a clock has seen it
    PRIMARY KEY (content, space)
) STRICT, WITHOUT ROWID;

-- Apart from content, so that saving a bit does not write the manifest again.
CREATE TABLE manifest (
    content BLOB NOT NULL PRIMARY KEY REFERENCES content ON DELETE CASCADE,
    data BLOB NOT NULL                          -- canonical bytes
) STRICT;

-- Where chunks of contents are, but for contents of a single chunk: another content that has one of
-- these can copy it, if it is there still, which is verified. Those that a content has from its base
-- are noted for that only. `position` is in bytes.
CREATE TABLE chunk (
    id BLOB NOT NULL,
    content BLOB NOT NULL REFERENCES content ON DELETE CASCADE,
    position INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (id, content, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX chunk_by_content ON chunk (content);

-- Who holds the contents of which versions, as far as is known: for each device and each author of
-- versions an account of what it holds whole, and one of what it holds in part. The device is empty
-- for this one, whose holdings follow from `entry` and `content`, and are brought up to date by the
-- transaction that changes those: see `holding`.
CREATE TABLE holder (
    number INTEGER PRIMARY KEY,
    space INTEGER NOT NULL REFERENCES space,
    device BLOB NOT NULL,
    author BLOB NOT NULL,
    incarnation BLOB NOT NULL,                  -- of the author
    partial INTEGER NOT NULL CHECK (partial IN (0, 1)),
    count INTEGER NOT NULL CHECK (count >= 0),  -- of its intervals
    sum BLOB NOT NULL,                          -- 16 bytes: of their hashes, modulo 2 ^ 128
    spoken INTEGER NOT NULL,                    -- of the device's own versions: up to where it has
                                                -- said which it holds; noted with the whole ones
    UNIQUE (space, device, author, incarnation, partial)
) STRICT;
CREATE INDEX holder_by_author ON holder (space, author, incarnation);

-- The intervals of an account. Of every sequence in them: if that version is a head where the device
-- is, and has a content, the device has every byte of it, or, in the other account, some chunks and
-- not all. No two of an account touch.
CREATE TABLE held (
    holder INTEGER NOT NULL REFERENCES holder ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL CHECK (last >= first),
    PRIMARY KEY (holder, first)
) STRICT, WITHOUT ROWID;

-- When a content was used last, by a program or because it came, in seconds since 1970. Contents of
-- which that is not known have no row.
CREATE TABLE use (
    content BLOB NOT NULL PRIMARY KEY REFERENCES content ON DELETE CASCADE,
    at REAL NOT NULL
) STRICT, WITHOUT ROWID;
