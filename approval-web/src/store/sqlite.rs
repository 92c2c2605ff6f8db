//! The store in one SQLite file: WAL, `synchronous=FULL`, strict tables, one connection.

mod schema;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::{Change, Logged, NewHold, Open, Store, USE_WITHIN, Written};
use crate::error::Error;
use crate::hold::{Hold, HoldId, UnixMs};
use crate::plan::Digest;
use crate::runner::Runner;
use crate::state::{Event, State, apply};

const HOLD: &str = "SELECT id, digest, plan, state, created_at, expires_at, changed_at, seq FROM holds";

/// A [`Store`] in a SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Sqlite {
    /// Opens the store, creating it when there is none.
    ///
    /// # Errors
    /// [`Error::Store`] when the file is not a store of this version, is damaged, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = |why: &str| Error::Store { path: path.into(), step: "open it", why: why.into() };
        if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
            return Err(fail("it is not a regular file; move it away"));
        }
        // Made by us first, so that it is never readable by others, whatever the umask says.
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        made.map_err(|e| fail(&format!("{e}; its directory must be writable by you")))?;
        let mut connection = Connection::open(path).map_err(|e| sql_error(path, "open it", &e))?;
        schema::prepare(&mut connection, path)?;
        Ok(Self { path: path.into(), connection: Mutex::new(connection) })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere rolled its transaction back when it unwound: the connection is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the write lock at once, so that what is read in the transaction is what is compared.
    fn begin<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c>, Error> {
        connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| sql_error(&self.path, "begin a change", &e))
    }

    fn read<T>(&self, step: &'static str, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        run(&self.lock()).map_err(|e| sql_error(&self.path, step, &e))
    }

    fn write<T>(
        &self,
        step: &'static str,
        run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut connection = self.lock();
        let tx = self.begin(&mut connection)?;
        run(&tx).and_then(|value| tx.commit().map(|()| value)).map_err(|e| sql_error(&self.path, step, &e))
    }
}

impl Store for Sqlite {
    fn create(&self, new: &NewHold, now: UnixMs) -> Result<Written, Error> {
        let digest = new.plan.digest();
        let known = self.write("create a hold", |tx| {
            if let Some(known) = find(tx, &new.id)? {
                return Ok(Err(known));
            }
            let seq = log(tx, now, &new.id, &digest, "create", &State::Pending)?;
            let hold = Hold {
                id: new.id.clone(),
                plan: new.plan.clone(),
                digest,
                state: State::Pending,
                created_at: now,
                expires_at: new.expires_at,
                changed_at: now,
                seq,
            };
            tx.execute(
                "INSERT INTO holds (id, digest, plan, open, state, created_at, expires_at, changed_at, seq, runner)
                 VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?5, ?7, ?8)",
                params![
                    hold.id.as_str(),
                    digest.to_string(),
                    json(&hold.plan)?,
                    json(&hold.state)?,
                    now.0,
                    hold.expires_at.0,
                    seq,
                    new.runner.as_ref().map(json).transpose()?,
                ],
            )?;
            Ok(Ok(hold))
        })?;
        match known {
            Ok(hold) => Ok(Written { hold, fresh: true }),
            Err(hold) if hold.digest == digest => Ok(Written { hold, fresh: false }),
            Err(hold) => Err(Error::Invalid { why: format!("hold {} exists already, with another plan", hold.id) }),
        }
    }

    fn change(&self, change: &Change, now: UnixMs) -> Result<Written, Error> {
        let outcome = self.write("change a hold", |tx| change_in(tx, change, now))?;
        match outcome {
            Changed::To(hold) => Ok(Written { hold, fresh: true }),
            Changed::Before(hold) => Ok(Written { hold, fresh: false }),
            Changed::NoSuch => Err(Error::NoSuchHold { id: change.id.to_string() }),
            Changed::OtherPlan => Err(Error::Changed { id: change.id.clone() }),
            Changed::Refused(state) => Err(Error::Refused { id: change.id.clone(), state: Box::new(state) }),
        }
    }

    fn get(&self, id: &HoldId) -> Result<Hold, Error> {
        self.read("read a hold", |c| find(c, id))?.ok_or_else(|| Error::NoSuchHold { id: id.to_string() })
    }

    fn list(&self, closed: usize) -> Result<Vec<Hold>, Error> {
        self.read("list the holds", |c| {
            let mut holds = Vec::new();
            let mut open = c.prepare_cached(&format!("{HOLD} WHERE open = 1 ORDER BY created_at, rowid"))?;
            for hold in open.query_map([], to_hold)? {
                holds.push(hold?);
            }
            let mut past = c.prepare_cached(&format!("{HOLD} WHERE open = 0 ORDER BY seq DESC LIMIT ?1"))?;
            for hold in past.query_map([i64::try_from(closed).unwrap_or(i64::MAX)], to_hold)? {
                holds.push(hold?);
            }
            Ok(holds)
        })
    }

    fn open(&self) -> Result<Vec<Open>, Error> {
        self.read("list the open holds", |c| {
            let mut rows = c.prepare_cached("SELECT id, state, expires_at, runner FROM holds WHERE open = 1")?;
            let open = rows.query_map([], |row| {
                let state: State = from_json(row, 1)?;
                let runner = row.get::<_, Option<String>>(3)?.map(|_| from_json::<Runner>(row, 3)).transpose()?;
                Ok(Open {
                    id: id_of(row, 0)?,
                    released: matches!(state, State::Released { .. }),
                    expires_at: UnixMs(row.get(2)?),
                    runner,
                })
            })?;
            open.collect()
        })
    }

    fn events_after(&self, seq: i64, limit: usize) -> Result<Vec<Logged>, Error> {
        self.read("read the events", |c| {
            let sql = "SELECT seq, at, hold, state FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let mut rows = c.prepare_cached(sql)?;
            let logged = rows.query_map(params![seq, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                Ok(Logged { seq: row.get(0)?, at: UnixMs(row.get(1)?), id: id_of(row, 2)?, state: from_json(row, 3)? })
            })?;
            logged.collect()
        })
    }

    fn last_event(&self) -> Result<i64, Error> {
        self.read("read the events", |c| c.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0)))
    }

    fn label(&self) -> Result<String, Error> {
        let read = |c: &Connection| c.query_row("SELECT value FROM meta WHERE key = 'label'", [], |row| row.get(0));
        self.read("read its label", read)
    }

    fn add_pairing(&self, secret: &Digest, now: UnixMs, expires_at: UnixMs) -> Result<(), Error> {
        self.write("add a pairing", |tx| {
            tx.execute("DELETE FROM pairings WHERE expires_at <= ?1", [now.0])?;
            tx.execute(
                "INSERT INTO pairings (secret, expires_at) VALUES (?1, ?2)",
                params![secret.to_string(), expires_at.0],
            )?;
            Ok(())
        })
    }

    fn has_pairing(&self, secret: &Digest, now: UnixMs) -> Result<bool, Error> {
        self.read("look up a pairing", |c| {
            let sql = "SELECT count(*) FROM pairings WHERE secret = ?1 AND expires_at > ?2";
            c.query_row(sql, params![secret.to_string(), now.0], |row| row.get::<_, i64>(0)).map(|n| n == 1)
        })
    }

    fn spend_pairing(&self, secret: &Digest, session: &Digest, now: UnixMs, until: UnixMs) -> Result<bool, Error> {
        self.write("spend a pairing", |tx| {
            let sql = "DELETE FROM pairings WHERE secret = ?1 AND expires_at > ?2";
            if tx.execute(sql, params![secret.to_string(), now.0])? != 1 {
                return Ok(false);
            }
            tx.execute("DELETE FROM sessions WHERE expires_at <= ?1", [now.0])?;
            tx.execute(
                "INSERT INTO sessions (secret, created_at, expires_at) VALUES (?1, ?2, ?3)",
                params![session.to_string(), now.0, until.0],
            )?;
            Ok(true)
        })
    }

    fn has_session(&self, session: &Digest, now: UnixMs) -> Result<bool, Error> {
        self.read("look up a session", |c| {
            let sql = "SELECT count(*) FROM sessions WHERE secret = ?1 AND expires_at > ?2";
            c.query_row(sql, params![session.to_string(), now.0], |row| row.get::<_, i64>(0)).map(|n| n == 1)
        })
    }
}

enum Changed {
    To(Hold),
    Before(Hold),
    NoSuch,
    OtherPlan,
    Refused(State),
}

fn change_in(tx: &Transaction<'_>, change: &Change, now: UnixMs) -> rusqlite::Result<Changed> {
    let Some(mut hold) = find(tx, &change.id)? else { return Ok(Changed::NoSuch) };
    if change.digest.is_some_and(|digest| digest != hold.digest) {
        return Ok(Changed::OtherPlan);
    }
    if is_repeated(tx, &hold, change)? {
        return Ok(Changed::Before(hold));
    }
    // The clock, not the sweep that follows it, decides whether an answer comes too late.
    let overdue = now >= hold.expires_at && matches!(hold.state, State::Pending | State::Approved { .. });
    if overdue && change.event != Event::Expire {
        put(tx, &mut hold, &Event::Expire, State::Expired, change, now)?;
        return Ok(Changed::Refused(State::Expired));
    }
    match apply(&hold.state, &change.event) {
        Ok(next) => {
            put(tx, &mut hold, &change.event, next, change, now)?;
            Ok(Changed::To(hold))
        }
        Err(_) => Ok(Changed::Refused(hold.state)),
    }
}

/// Whether this very change was made before: the answer to it was lost, and asking again does no harm.
fn is_repeated(tx: &Transaction<'_>, hold: &Hold, change: &Change) -> rusqlite::Result<bool> {
    Ok(match (&change.event, &hold.state) {
        (
            Event::Approve { by },
            State::Approved { by: who }
            | State::Released { by: who }
            | State::Finished { by: who, .. }
            | State::Unknown { by: who },
        ) => by == who,
        (Event::Deny { by, reason }, State::Denied { by: who, reason: why }) => by == who && reason == why,
        (Event::Cancel { .. }, State::Cancelled { .. }) | (Event::Expire, State::Expired) => true,
        (Event::Finish { outcome }, State::Finished { outcome: seen, .. }) => outcome == seen,
        (Event::Release, State::Released { .. }) => {
            let sql = "SELECT ticket FROM holds WHERE id = ?1";
            let spent: Option<String> = tx.query_row(sql, [hold.id.as_str()], |row| row.get(0))?;
            spent.is_some() && spent == change.ticket
        }
        _ => false,
    })
}

fn put(
    tx: &Transaction<'_>,
    hold: &mut Hold,
    event: &Event,
    next: State,
    change: &Change,
    now: UnixMs,
) -> rusqlite::Result<()> {
    let seq = log(tx, now, &hold.id, &hold.digest, &json(event)?, &next)?;
    if matches!(next, State::Approved { .. }) {
        hold.expires_at = now.after(USE_WITHIN);
    }
    let released = matches!(next, State::Released { .. });
    let changed = tx.execute(
        "UPDATE holds SET open = ?1, state = ?2, expires_at = ?3, changed_at = ?4, seq = ?5,
             ticket = CASE WHEN ?6 THEN ?7 ELSE ticket END,
             runner = CASE WHEN ?6 THEN coalesce(?8, runner) ELSE runner END
         WHERE id = ?9 AND seq = ?10 AND state = ?11",
        params![
            !next.is_closed(),
            json(&next)?,
            hold.expires_at.0,
            now.0,
            seq,
            released,
            change.ticket,
            change.runner.as_ref().map(json).transpose()?,
            hold.id.as_str(),
            hold.seq,
            json(&hold.state)?,
        ],
    )?;
    if changed != 1 {
        // Cannot happen while the transaction holds the write lock; if it does, nothing is written.
        return Err(rusqlite::Error::StatementChangedRows(changed));
    }
    (hold.state, hold.seq, hold.changed_at) = (next, seq, now);
    Ok(())
}

fn log(
    tx: &Transaction<'_>,
    now: UnixMs,
    id: &HoldId,
    digest: &Digest,
    event: &str,
    state: &State,
) -> rusqlite::Result<i64> {
    tx.execute(
        "INSERT INTO events (at, hold, digest, event, state) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![now.0, id.as_str(), digest.to_string(), event, json(state)?],
    )?;
    Ok(tx.last_insert_rowid())
}

fn find(c: &Connection, id: &HoldId) -> rusqlite::Result<Option<Hold>> {
    c.prepare_cached(&format!("{HOLD} WHERE id = ?1"))?.query_row([id.as_str()], to_hold).optional()
}

fn to_hold(row: &Row<'_>) -> rusqlite::Result<Hold> {
    Ok(Hold {
        id: id_of(row, 0)?,
        digest: row.get::<_, String>(1)?.parse().map_err(|e| bad(1, e))?,
        plan: from_json(row, 2)?,
        state: from_json(row, 3)?,
        created_at: UnixMs(row.get(4)?),
        expires_at: UnixMs(row.get(5)?),
        changed_at: UnixMs(row.get(6)?),
        seq: row.get(7)?,
    })
}

fn id_of(row: &Row<'_>, at: usize) -> rusqlite::Result<HoldId> {
    row.get::<_, String>(at)?.parse().map_err(|e| bad(at, e))
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    serde_json::from_str(&row.get::<_, String>(at)?).map_err(|e| bad(at, e))
}

fn bad(at: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(error))
}

fn sql_error(path: &Path, step: &'static str, error: &rusqlite::Error) -> Error {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "; the disk is full: free some space",
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "; its directory must be writable by you"
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "; it is damaged: move it away, or restore a copy"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "; something else has it open",
        _ => "",
    };
    Error::Store { path: path.into(), step, why: format!("{error}{advice}") }
}
