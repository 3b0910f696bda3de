CREATE TABLE holds(
  hold_id    TEXT PRIMARY KEY,
  at         TEXT NOT NULL,
  batch_id   TEXT,
  process_id TEXT NOT NULL,            -- while it lives, the request may turn out cheaper
  usd        REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE rates(
  bucket  TEXT PRIMARY KEY,            -- provider/model/key id
  at      TEXT NOT NULL,
  learned TEXT NOT NULL                -- JSON
) WITHOUT ROWID;
