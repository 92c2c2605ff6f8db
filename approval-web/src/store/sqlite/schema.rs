//! The tables of the store, and what a file must be to be one.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::sql_error;
use crate::error::Error;
use crate::hold::random_word;

/// "hold" in ASCII: tells our file from any other SQLite file.
const APPLICATION_ID: i64 = 0x686f_6c64;
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE holds (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    plan TEXT NOT NULL,
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    runner TEXT,
    ticket TEXT
) STRICT;
CREATE INDEX holds_by_open ON holds (open, seq);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    hold TEXT NOT NULL,
    digest TEXT NOT NULL,
    event TEXT NOT NULL,
    state TEXT NOT NULL
) STRICT;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_remain BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TABLE pairings (secret TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) STRICT;
CREATE TABLE sessions (secret TEXT PRIMARY KEY, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL) STRICT;
";

/// Sets the connection up, checks the file, and creates the tables in a new one.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let step = "open it";
    let fail = |why: String| Error::Store { path: path.to_owned(), step, why };
    let pragmas = |c: &Connection| -> rusqlite::Result<String> {
        c.busy_timeout(Duration::from_secs(5))?;
        c.pragma_update(None, "foreign_keys", true)?;
        c.pragma_update(None, "trusted_schema", false)?;
        let mode = c.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        c.pragma_update(None, "synchronous", "FULL")?;
        Ok(mode)
    };
    let mode = pragmas(connection).map_err(|e| sql_error(path, step, &e))?;
    if mode != "wal" {
        return Err(fail(format!("its file system does not support write-ahead logging (journal mode {mode})")));
    }
    let damage: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|e| sql_error(path, "check it", &e))?;
    if damage != "ok" {
        return Err(fail(format!("it is damaged ({damage}); move it away, or restore a copy")));
    }
    let tx =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| sql_error(path, step, &e))?;
    let run = |tx: &Transaction<'_>| -> rusqlite::Result<(i64, i64, i64)> {
        Ok((
            tx.query_row("PRAGMA application_id", [], |row| row.get(0))?,
            tx.query_row("PRAGMA user_version", [], |row| row.get(0))?,
            tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
        ))
    };
    match run(&tx).map_err(|e| sql_error(path, step, &e))? {
        (APPLICATION_ID, SCHEMA_VERSION, _) => return Ok(()),
        (0, 0, 0) => {}
        (APPLICATION_ID, version, _) => {
            return Err(fail(format!("it has schema version {version}, this program knows {SCHEMA_VERSION}")));
        }
        _ => return Err(fail("it is a database of something else; move it away".into())),
    }
    let create = |tx: &Transaction<'_>, label: &str| -> rusqlite::Result<()> {
        tx.execute_batch(SCHEMA)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        tx.execute("INSERT INTO meta (key, value) VALUES ('label', ?1)", [label])?;
        Ok(())
    };
    let label = random_word()?;
    create(&tx, &label).and_then(|()| tx.commit()).map_err(|e| sql_error(path, "create it", &e))
}
