CREATE TABLE IF NOT EXISTS installation (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS accounts (
    id               TEXT PRIMARY KEY CHECK (length(id) = 32 AND id NOT GLOB '*[^0-9a-f]*'),
    name             TEXT NOT NULL,
    realm            TEXT UNIQUE,
    parent           TEXT REFERENCES accounts (id),
    enabled          INTEGER NOT NULL DEFAULT 1,
    superduper       INTEGER NOT NULL DEFAULT 0,
    signature_secret TEXT NOT NULL,
    salt             BLOB NOT NULL,
    created          INTEGER NOT NULL
) STRICT;

-- One account stands above all others.
CREATE UNIQUE INDEX IF NOT EXISTS one_master ON accounts (ifnull(parent, '')) WHERE parent IS NULL;

CREATE TABLE IF NOT EXISTS users (
    id               TEXT PRIMARY KEY CHECK (length(id) = 32 AND id NOT GLOB '*[^0-9a-f]*'),
    account          TEXT NOT NULL REFERENCES accounts (id),
    username         TEXT NOT NULL,
    priv_level       TEXT NOT NULL CHECK (priv_level IN ('admin', 'user')),
    enabled          INTEGER NOT NULL DEFAULT 1,
    signature_secret TEXT NOT NULL,
    md5_hash         BLOB NOT NULL,
    sha1_hash        BLOB NOT NULL,
    created          INTEGER NOT NULL,
    UNIQUE (account, username)
) STRICT;

CREATE TABLE IF NOT EXISTS signing_keys (
    kid     TEXT PRIMARY KEY,
    pkcs8   BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT;
