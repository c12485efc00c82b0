//! Reading: a connection in a read transaction, and more of them where they see the same.

use super::place::Place;
use super::table::{Table, blob};
use super::writer::Shared;
use crate::pieces::{Begin, Piece, PieceCursor, Pieces, Rest};
use crate::sampling::Samples;
use rusqlite::{Connection, OptionalExtension};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use transload_store::{Cursor, Error, KeyRange, Kind, Result, Snapshot};

/// The state of the file when the snapshot was taken.
pub(super) struct SqliteSnapshot {
    view: Arc<View>,
    samples: OnceLock<Samples>,
}

/// A connection whose read transaction holds the state.
struct View {
    shared: Arc<Shared>,
    /// How many batches had been written.
    generation: u64,
    connection: Mutex<Connection>,
}

impl SqliteSnapshot {
    /// The caller sees to it that nothing is written meanwhile.
    pub(super) fn new(shared: Arc<Shared>, generation: u64) -> Result<Self> {
        let connection = Mutex::new(begin(&shared.place)?);
        let view = Arc::new(View { shared, generation, connection });
        Ok(Self { view, samples: OnceLock::new() })
    }

    fn samples(&self) -> Result<&Samples> {
        if let Some(samples) = self.samples.get() {
            return Ok(samples);
        }
        let shared = &self.view.shared;
        let taken = Samples::take(&shared.place.path, shared.table.page_bytes, first_key_of_leaf)?;
        Ok(self.samples.get_or_init(|| taken))
    }

    /// The first or the last key of a range.
    fn edge(&self, range: &KeyRange, last: bool) -> Result<Option<Vec<u8>>> {
        let end = if last { "max" } else { "min" };
        let Table { name, key, .. } = &self.view.shared.table;
        let upper = if range.end.is_some() { format!("AND {key} < ?2") } else { String::new() };
        let sql = format!("SELECT {end}({key}) FROM {name} WHERE {key} >= ?1 {upper}");
        self.view.with(|connection, place| {
            let take = |row: &rusqlite::Row<'_>| row.get::<_, Option<Vec<u8>>>(0);
            match &range.end {
                Some(end) => connection.query_row(&sql, (&range.start, end), take),
                None => connection.query_row(&sql, (&range.start,), take),
            }
            .map_err(|error| place.fault("split points", error))
        })
    }
}

/// A connection that sees what is committed now, and nothing later.
fn begin(place: &Place) -> Result<Connection> {
    let connection = place.connect()?;
    // The transaction takes its view with its first read.
    connection
        .execute_batch("BEGIN")
        .and_then(|()| connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(())))
        .map_err(|error| place.fault("snapshot", error))?;
    Ok(connection)
}

impl View {
    fn with<T>(&self, read: impl FnOnce(&Connection, &Place) -> Result<T>) -> Result<T> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        read(&connection, &self.shared.place)
    }
}

/// The first key in a leaf of an index B-tree, which tables without row ids are. Layout (the
/// file format page at sqlite.org): type 0x0a, at 3 `u16 BE` cells, from 8 their offsets; a cell
/// is a varint length and a record: varint header length, a varint type a column, the columns.
fn first_key_of_leaf(page: &[u8]) -> Option<&[u8]> {
    let u16_at = |at: usize| Some(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?]));
    if *page.first()? != 0x0a || u16_at(3)? == 0 {
        return None;
    }
    let (_, record) = varint(page, usize::from(u16_at(8)?))?;
    let (header_bytes, types) = varint(page, record)?;
    let (key_type, _) = varint(page, types)?;
    // Even types from 12 on are blobs of (type - 12) / 2 bytes.
    let key_bytes = usize::try_from(key_type.checked_sub(12)? / 2).ok()?;
    let begin = record.checked_add(usize::try_from(header_bytes).ok()?)?;
    let end = begin.checked_add(key_bytes)?.min(page.len());
    page.get(begin..end).filter(|key| key_type % 2 == 0 && !key.is_empty())
}

/// A big-endian varint of up to nine bytes at `at`, and where it ends.
fn varint(page: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0u64;
    for place in 0..9usize {
        let byte = *page.get(at.checked_add(place)?)?;
        if place == 8 {
            return Some(((number << 8) | u64::from(byte), at + 9));
        }
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((number, at + place + 1));
        }
    }
    None
}

impl Snapshot for SqliteSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Table { name, key: key_column, value, .. } = &self.view.shared.table;
        let sql = format!("SELECT {value} FROM {name} WHERE {key_column} = ?1");
        self.view.with(|connection, place| {
            let found = connection
                .query_row(&sql, (key,), |row| Ok(blob(&row.get_ref(0)?).map(<[u8]>::to_vec)))
                .optional()
                .map_err(|error| place.fault("get", error))?;
            found.transpose()
        })
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let view = &self.view;
        // While nothing was written since, a fresh connection sees the same, and walks at the
        // same time as others. Afterwards cursors take turns on the connection that remembers.
        let own = view.shared.while_unchanged(view.generation, || begin(&view.shared.place))?;
        let walk = match own {
            Some(connection) => Walk::Own(connection, Arc::clone(&view.shared)),
            None => Walk::Shared(Arc::clone(view)),
        };
        Ok(Box::new(PieceCursor::new(walk, range)))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        match (self.edge(range, false)?, self.edge(range, true)?) {
            (Some(first), Some(last)) => {
                Ok(self.samples()?.split_points(&KeyRange::new(first, last), chunk_bytes))
            }
            _ => Ok(Vec::new()),
        }
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        Ok(self.samples()?.approximate_bytes(range))
    }
}

/// What a cursor walks on.
enum Walk {
    Own(Connection, Arc<Shared>),
    Shared(Arc<View>),
}

impl Pieces for Walk {
    fn read(&self, begin: Begin<'_>, end: Option<&[u8]>, piece: &mut Piece) -> Result<Rest> {
        match self {
            Walk::Own(connection, shared) => read(connection, shared, begin, end, piece),
            Walk::Shared(view) => {
                view.with(|connection, _| read(connection, &view.shared, begin, end, piece))
            }
        }
    }
}

fn read(
    connection: &Connection,
    shared: &Shared,
    begin: Begin<'_>,
    end: Option<&[u8]>,
    piece: &mut Piece,
) -> Result<Rest> {
    let Table { name, key, value, .. } = &shared.table;
    let failed = |error| shared.place.fault("scan", error);
    let lower = match begin {
        // Without a lower bound: numbers and text sort before all bytes, and must be met.
        Begin::At([]) => "?1 = ?1".to_owned(),
        Begin::At(_) => format!("{key} >= ?1"),
        Begin::After(_) => format!("{key} > ?1"),
    };
    let (Begin::At(from) | Begin::After(from)) = begin;
    let upper = if end.is_some() { format!("AND {key} < ?2") } else { String::new() };
    let sql = format!("SELECT {key}, {value} FROM {name} WHERE {lower} {upper} ORDER BY {key}");
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let mut rows = match end {
        Some(end) => statement.query((from, end)),
        None => statement.query((from,)),
    }
    .map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let columns = (row.get_ref(0).map_err(failed)?, row.get_ref(1).map_err(failed)?);
        let (key, value) = (blob(&columns.0)?, blob(&columns.1)?);
        if key.len() > transload_store::KEY_BYTES_MAX {
            return Err(Error::new(Kind::Limit, "scan", "a key of more than 16 MiB"));
        }
        if piece.push(key, value) == Rest::Nothing {
            return Ok(Rest::More);
        }
    }
    Ok(Rest::Nothing)
}
