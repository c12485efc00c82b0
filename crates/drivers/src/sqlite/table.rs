//! The table that holds the entries.

use super::place::Place;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use transload_store::{Error, Kind, Result};

/// The table of a target for which no space is named.
const TABLE: &str = "transload";

/// The page size of new files: values of 64 KiB are common in block stores.
const PAGE_BYTES: u32 = 16_384;

/// The log is folded into the file at this many pages: 64 MiB.
const LOG_PAGES_MAX: u32 = 4_096;

/// Names listed when a choice is needed.
const NAMES_SHOWN_MAX: usize = 16;

/// A table of two BLOB columns, the first its primary key. Names are quoted for SQL.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) page_bytes: u32,
}

struct Column {
    name: String,
    declared: String,
    key_place: i64,
    hidden: i64,
}

impl Table {
    /// The table of a source: the one named, or the only one.
    pub(super) fn find(place: &Place, space: Option<&str>) -> Result<Self> {
        Self::of(&place.connect()?, place, space)
    }

    /// Makes a target's table in a new file.
    pub(super) fn create(place: &Place, space: Option<&str>) -> Result<(Connection, Self)> {
        let connection = place.connect()?;
        let failed = |error| place.fault("create", error);
        let name = quoted(space.unwrap_or(TABLE));
        connection
            .execute_batch(&format!("PRAGMA page_size={PAGE_BYTES};"))
            .and_then(|()| prepare_for_writing(&connection))
            .and_then(|()| {
                connection.execute_batch(&format!(
                    "CREATE TABLE {name} (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL) \
                     WITHOUT ROWID"
                ))
            })
            .map_err(failed)?;
        let table = Self::of(&connection, place, Some(space.unwrap_or(TABLE)))?;
        Ok((connection, table))
    }

    /// The table of a target that exists.
    pub(super) fn reopen(place: &Place, space: Option<&str>) -> Result<(Connection, Self)> {
        let connection = place.connect()?;
        let table = Self::of(&connection, place, Some(space.unwrap_or(TABLE)))?;
        prepare_for_writing(&connection).map_err(|error| place.fault("open", error))?;
        Ok((connection, table))
    }

    fn of(connection: &Connection, place: &Place, space: Option<&str>) -> Result<Self> {
        let refused = |kind, message: &str| {
            Error::new(kind, "open a table", message).with("path", place.path.display().to_string())
        };
        let failed = |error| place.fault("open a table", error);
        let tables = tables(connection).map_err(failed)?;
        let (name, is_plain) = match (space, tables.as_slice()) {
            (Some(space), tables) => tables
                .iter()
                .find(|(name, _)| name == space)
                .ok_or_else(|| refused(Kind::NotFound, "no such table").with("table", space))?,
            (None, [only]) => only,
            (None, []) => return Err(refused(Kind::NotFound, "the file has no tables")),
            (None, several) => {
                let names: Vec<&str> =
                    several.iter().take(NAMES_SHOWN_MAX).map(|(name, _)| &**name).collect();
                return Err(refused(
                    Kind::InvalidInput,
                    "the file has several tables: name one as the space",
                )
                .with("tables", names.join(" ")));
            }
        };
        let columns = columns(connection, name).map_err(failed)?;
        let (true, [key, value]) = (*is_plain, columns.as_slice()) else {
            return Err(foreign(refused, name));
        };
        let is_ours = |column: &Column, key_place| {
            column.declared.eq_ignore_ascii_case("BLOB")
                && column.key_place == key_place
                && column.hidden == 0
        };
        if !is_ours(key, 1) || !is_ours(value, 0) {
            return Err(foreign(refused, name));
        }
        let page_bytes =
            connection.query_row("PRAGMA page_size", (), |row| row.get(0)).map_err(failed)?;
        Ok(Self {
            name: quoted(name),
            key: quoted(&key.name),
            value: quoted(&value.name),
            page_bytes,
        })
    }
}

fn foreign(refused: impl Fn(Kind, &str) -> Error, name: &str) -> Error {
    refused(
        Kind::UnknownFormat,
        "the table isn't one of byte keys and byte values (two BLOB columns, the first the \
         primary key)",
    )
    .with("table", name)
}

/// The names of all tables, views and virtual tables, and whether each is a plain table.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<(String, bool)>> {
    let mut statement = connection.prepare(
        "SELECT name, type FROM pragma_table_list \
         WHERE schema = 'main' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name",
    )?;
    let rows = statement.query_map((), |row| {
        let kind: String = row.get(1)?;
        Ok((row.get(0)?, kind == "table"))
    })?;
    rows.collect()
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let mut statement =
        connection.prepare("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?1)")?;
    let rows = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            declared: row.get(1)?,
            key_place: row.get(2)?,
            hidden: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// Snapshots beside a writer need SQLite's write-ahead log; closing folds it into the file.
fn prepare_for_writing(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA journal_mode=WAL", (), |_| Ok(()))?;
    connection.query_row(&format!("PRAGMA wal_autocheckpoint={LOG_PAGES_MAX}"), (), |_| Ok(()))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The bytes of a column; anything but a blob has an order of its own and isn't ours.
pub(super) fn blob<'a>(value: &'a ValueRef<'_>) -> Result<&'a [u8]> {
    match value {
        ValueRef::Blob(bytes) => Ok(bytes),
        other => Err(Error::new(
            Kind::UnknownFormat,
            "read a row",
            format!("a row holds {} where bytes are expected", other.data_type()),
        )),
    }
}
