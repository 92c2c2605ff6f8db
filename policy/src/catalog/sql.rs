//! SQL and its kin on the command line: statements that destroy data.

use super::{Class, Hit, only_asks_for_help};
use crate::shell::{Input, Invocation};

/// Clients, and whether they reach another machine.
const CLIENTS: &[(&str, bool)] = &[
    ("psql", true),
    ("pgcli", true),
    ("mysql", true),
    ("mariadb", true),
    ("mycli", true),
    ("clickhouse-client", true),
    ("clickhouse", true),
    ("cockroach", true),
    ("cqlsh", true),
    ("sqlcmd", true),
    ("sqlplus", true),
    ("snowsql", true),
    ("bq", true),
    ("influx", true),
    ("mongosh", true),
    ("mongo", true),
    ("trino", true),
    ("presto", true),
    ("usql", true),
    ("sqlite3", false),
    ("sqlite", false),
    ("duckdb", false),
    ("litecli", false),
    ("redis-cli", true),
    ("valkey-cli", true),
];

/// Calls of document stores that delete.
const CALLS: &[&str] = &[
    "deletemany",
    "deleteone",
    ".drop(",
    "dropdatabase",
    ".remove(",
    "dropindex",
    "dropcollection",
    "findoneanddelete",
    "bulkwrite",
];

/// What is known about an invocation of a database client.
pub(super) fn known(invocation: &Invocation) -> Vec<Hit> {
    let Some(name) = invocation.name() else { return Vec::new() };
    let Some((_, reaches)) =
        CLIENTS.iter().find(|(client, _)| *client == name).filter(|_| !only_asks_for_help(invocation))
    else {
        return Vec::new();
    };
    let mut hits = Vec::new();
    let input = match &invocation.input {
        Input::Text(text) => Some(text.as_str()),
        _ => None,
    };
    let texts = invocation.arguments().iter().map(|word| word.shown()).chain(input);
    for text in texts {
        // The statement may stand in the same word as its option.
        let text = text.strip_prefix("--command=").or_else(|| text.strip_prefix("--execute=")).unwrap_or(text);
        let text = text.strip_prefix("-c").or_else(|| text.strip_prefix("-e")).unwrap_or(text);
        let call = text.to_lowercase();
        if destroys(text) || CALLS.iter().any(|part| call.contains(part)) {
            hits.push(Hit::new(Class::Destructive, name, "destroys data"));
        }
    }
    if *reaches {
        hits.push(Hit::new(Class::Outward, name, "works on a database"));
    }
    hits
}

/// Whether a text holds a statement that destroys data: drops, truncates, or deletes and updates without a condition.
pub(super) fn destroys(text: &str) -> bool {
    // Both readings of a comment: some servers join what it separates.
    [strip(text, ""), strip(text, " ")].iter().any(|text| text.split(';').any(statement_destroys))
}

fn statement_destroys(statement: &str) -> bool {
    let upper = statement.to_uppercase();
    let words: Vec<&str> =
        upper.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    // A statement may stand behind `EXPLAIN ANALYZE` or in a `WITH`.
    let has = |first: &str, second: &[&str]| words.windows(2).any(|pair| pair[0] == first && second.contains(&pair[1]));
    const OBJECTS: &[&str] = &[
        "DATABASE",
        "TABLE",
        "SCHEMA",
        "INDEX",
        "VIEW",
        "COLUMN",
        "USER",
        "ROLE",
        "OWNED",
        "KEYSPACE",
        "COLLECTION",
        "TABLESPACE",
        "FUNCTION",
        "TRIGGER",
        "SEQUENCE",
        "EXTENSION",
        "MATERIALIZED",
        "TYPE",
        "IF",
        "CONSTRAINT",
        "PARTITION",
        "MEASUREMENT",
        "SERIES",
    ];
    let starts = |word: &str| words.first() == Some(&word);
    let condition = upper.split_once("WHERE").map(|(_, rest)| rest.split_whitespace().collect::<String>());
    let unconditional =
        condition.is_none_or(|rest| matches!(rest.as_str(), "TRUE" | "1=1" | "1" | "''=''" | "NOTFALSE"));
    has("DROP", OBJECTS)
        || starts("TRUNCATE")
        || has("TRUNCATE", &["TABLE"])
        || has("DELETE", &["FROM"]) && unconditional
        || starts("UPDATE") && words.contains(&"SET") && unconditional
        || starts("FLUSHALL")
        || starts("FLUSHDB")
}

/// The text without comments and without what stands in quotes as a value.
fn strip(text: &str, comment: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("/*") {
            out.push_str(comment);
            rest = after.split_once("*/").map_or("", |(_, rest)| rest);
        } else if let Some(after) = rest.strip_prefix("--") {
            rest = after.split_once('\n').map_or("", |(_, rest)| rest);
            out.push('\n');
        } else if let Some(after) = rest.strip_prefix('\'') {
            out.push_str("''");
            rest = after.split_once('\'').map_or("", |(_, rest)| rest);
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::destroys;

    #[test]
    fn statements_that_destroy_are_known() {
        for sql in [
            "DROP DATABASE app",
            "drop table if exists users;",
            "select 1; truncate users",
            "DELETE FROM users",
            "delete from users where true",
            "DR/**/OP TABLE x",
            "DROP/**/TABLE x",
            "update users set admin = 1",
            "with x as (delete from users returning *) select 1",
            "-- harmless\nDROP TABLE x",
            "ALTER TABLE a DROP COLUMN b",
        ] {
            assert!(destroys(sql), "{sql}");
        }
        for sql in [
            "SELECT * FROM audit WHERE action = 'DROP TABLE'",
            "DELETE FROM s WHERE id = 7",
            "-- DROP TABLE x",
            "select dropped from t",
            "UPDATE t SET a = 1 WHERE id = 2",
            "insert into t values ('delete from x')",
        ] {
            assert!(!destroys(sql), "{sql}");
        }
    }
}
