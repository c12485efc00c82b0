//! Files of other programs: refused by name, or read when they are plain bytes.

#[cfg(feature = "redb")]
mod redb {
    use crate::subject::source_options;
    use redb::{Database, TableDefinition, WriteTransaction};
    use std::path::PathBuf;
    use transload_drivers::redb::RedbDriver;
    use transload_store::{Driver, KeyRange, Kind};

    const BYTES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bytes");

    /// A file of another program, in a folder that goes away.
    fn made(fill: impl FnOnce(&WriteTransaction)) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.redb");
        let database = Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        fill(&write);
        write.commit().unwrap();
        (folder, path)
    }

    #[test]
    fn several_tables_need_a_name_and_typed_tables_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let (_folder, path) = made(|write| {
            let typed: TableDefinition<'_, u64, &str> = TableDefinition::new("typed");
            write.open_table(BYTES).unwrap().insert(&b"k"[..], &b"v"[..]).unwrap();
            write.open_table(typed).unwrap().insert(1, "one").unwrap();
        });
        let open = |space: Option<&str>| {
            let mut options = source_options(scratch.path());
            options.space = space.map(str::to_owned);
            RedbDriver.open_source(&path, &options).map_err(|error| error.kind())
        };
        assert_eq!(open(None).err(), Some(Kind::InvalidInput));
        assert_eq!(open(Some("typed")).err(), Some(Kind::UnknownFormat));
        assert_eq!(open(Some("nowhere")).err(), Some(Kind::NotFound));
        let snapshot = open(Some("bytes")).unwrap().snapshot().unwrap();
        assert_eq!(snapshot.get(b"k").unwrap(), Some(b"v".to_vec()));
    }

    #[test]
    fn pages_that_are_damaged_after_the_check_end_a_scan_with_an_error_that_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let (_folder, path) = made(|write| {
            let mut table = write.open_table(BYTES).unwrap();
            for number in 0..20_000_u32 {
                table.insert(&number.to_be_bytes()[..], &[7; 100][..]).unwrap();
            }
        });
        let whole = std::fs::read(&path).unwrap();
        let mut options = source_options(scratch.path());
        // What a cache holds was read before the damage.
        options.memory_bytes_max = 0;
        for damage in [0_u8, 1, 2, 0x55, 0xff] {
            std::fs::write(&path, &whole).unwrap();
            let store = RedbDriver.open_source(&path, &options).unwrap();
            let snapshot = store.snapshot().unwrap();
            let mut damaged = whole.clone();
            damaged[whole.len() / 2..].fill(damage);
            std::fs::write(&path, damaged).unwrap();
            let mut cursor = match snapshot.cursor(&KeyRange::all()) {
                Ok(cursor) => cursor,
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Corrupt, "{damage}: {error}");
                    continue;
                }
            };
            let error = loop {
                match cursor.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{damage}: a damaged table was read to its end"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), Kind::Corrupt, "{damage}: {error}");
            assert_eq!(cursor.next().unwrap_err().kind(), Kind::Corrupt);
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use crate::subject::{content, source_options};
    use rusqlite::Connection;
    use transload_drivers::sqlite::SqliteDriver;
    use transload_store::{Driver, Kind, Result, Store};

    fn made(sql: &str) -> (tempfile::TempDir, Result<Box<dyn Store>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other?.sqlite");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let scratch = folder.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let opened = SqliteDriver.open_source(&path, &source_options(&scratch));
        (folder, opened)
    }

    #[test]
    fn a_plain_table_of_bytes_is_read_in_byte_order() {
        let (_folder, store) = made(
            "CREATE TABLE \"my \"\"kv\" (k BLOB PRIMARY KEY, \"the value\" BLOB); \
             INSERT INTO \"my \"\"kv\" VALUES (x'ff', x'01'), (x'00', x''), (x'', x'02');",
        );
        let entries: Vec<_> = content(&*store.unwrap()).unwrap().into_iter().collect();
        let expected: Vec<(Vec<u8>, Vec<u8>)> =
            vec![(vec![], vec![2]), (vec![0], vec![]), (vec![255], vec![1])];
        assert_eq!(entries, expected);
    }

    #[test]
    fn other_shapes_are_refused_by_name() {
        let kinds = [
            ("CREATE TABLE a (k TEXT PRIMARY KEY, v BLOB)", Kind::UnknownFormat),
            ("CREATE TABLE a (k BLOB, v BLOB)", Kind::UnknownFormat),
            ("CREATE TABLE a (k BLOB PRIMARY KEY, v BLOB, w BLOB)", Kind::UnknownFormat),
            (
                "CREATE TABLE a (k BLOB, v BLOB, PRIMARY KEY (k, v)) WITHOUT ROWID",
                Kind::UnknownFormat,
            ),
            ("CREATE VIEW a AS SELECT x'00' AS k, x'01' AS v", Kind::UnknownFormat),
            ("CREATE TABLE a (k BLOB PRIMARY KEY, v BLOB); CREATE TABLE b (k)", Kind::InvalidInput),
            ("PRAGMA user_version=7", Kind::NotFound),
        ];
        for (sql, kind) in kinds {
            let (_folder, store) = made(sql);
            assert_eq!(store.err().map(|error| error.kind()), Some(kind), "{sql}");
        }
    }

    #[test]
    fn a_row_that_holds_text_is_an_error_and_not_skipped() {
        for row in ["('text', x'00')", "(7, x'00')", "(NULL, x'00')", "(x'00', 'text')"] {
            let (_folder, store) = made(&format!(
                "CREATE TABLE a (k BLOB PRIMARY KEY, v BLOB); INSERT INTO a VALUES {row}"
            ));
            let read = content(&*store.unwrap());
            assert_eq!(read.unwrap_err().kind(), Kind::UnknownFormat, "{row}");
        }
    }
}

#[cfg(feature = "lmdb")]
mod lmdb {
    use crate::subject::{content, source_options};
    use heed::types::Bytes;
    use heed::{CommitOrAbort, DatabaseFlags, EnvOpenOptions};
    use std::path::Path;
    use transload_drivers::lmdb::LmdbDriver;
    use transload_store::{Driver, Kind, Store};

    /// Makes databases of an environment; each gets one entry.
    #[allow(unsafe_code, reason = "heed marks every open as unsafe; the folder is this test's")]
    fn make(folder: &Path, databases: &[(Option<&str>, DatabaseFlags)]) {
        let mut options = EnvOpenOptions::new();
        options.max_dbs(8);
        // SAFETY: nobody else has the new environment open.
        let environment = unsafe { options.open(folder) }.unwrap();
        for (name, flags) in databases {
            let transaction = environment.write_txn().unwrap();
            let database = environment
                .create_databases_and_commit(transaction, |opener, transaction| {
                    let mut options = opener.database_options().types::<Bytes, Bytes>();
                    options.flags(*flags);
                    if let Some(name) = name {
                        options.name(name);
                    }
                    options.create(transaction).map(CommitOrAbort::<_, ()>::Commit)
                })
                .unwrap()
                .commit()
                .unwrap();
            let mut transaction = environment.write_txn().unwrap();
            database.put(&mut transaction, b"kkkkkkkk", b"v").unwrap();
            transaction.commit().unwrap();
        }
        environment.prepare_for_closing().wait();
    }

    #[test]
    fn databases_are_told_apart_and_foreign_orders_are_refused() {
        let plain = DatabaseFlags::empty();
        let cases: [(&[_], _, _); 6] = [
            (&[(None, plain)], None, None),
            (&[(Some("one"), plain)], None, None),
            (&[(Some("one"), plain), (Some("two"), plain)], None, Some(Kind::InvalidInput)),
            (&[(Some("one"), plain), (Some("two"), plain)], Some("two"), None),
            (&[(Some("one"), plain)], Some("three"), Some(Kind::NotFound)),
            (&[(Some("one"), DatabaseFlags::DUP_SORT)], None, Some(Kind::UnknownFormat)),
        ];
        for (databases, space, refusal) in cases {
            let folder = tempfile::tempdir().unwrap();
            make(folder.path(), databases);
            let mut options = source_options(folder.path());
            options.space = space.map(str::to_owned);
            let opened = LmdbDriver.open_source(folder.path(), &options);
            assert_eq!(opened.as_ref().err().map(|error| error.kind()), refusal, "{space:?}");
            if let Ok(store) = opened {
                assert_eq!(content(&*store).unwrap().len(), 1);
            }
        }
    }

    #[test]
    fn a_tree_of_every_shape_is_read_as_lmdb_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let options = crate::subject::target_options();
        let store = LmdbDriver.create_target(&path, &options).unwrap();
        let mut model = transload_store::contract::Entries::new();
        let mut state = 7u64;
        for round in 0..60u8 {
            let mut batch = transload_store::WriteBatch::new();
            for _ in 0..400 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                let key = (state >> 50).to_be_bytes();
                let key = &key[8 - (state >> 40) as usize % 9..];
                if state >> 61 == 0 {
                    batch.delete(key);
                    model.remove(key);
                } else {
                    let length = [0, 1, 40, 700, 3_000, 9_000][(state >> 33) as usize % 6];
                    let value = vec![round; length];
                    batch.put(key, &value);
                    model.insert(key.to_vec(), value);
                }
            }
            store.write(&batch, transload_store::Durability::Buffered).unwrap();
            let seen = content(&*store).unwrap();
            assert!(seen == model, "round {round}");
        }
        let store: Box<dyn Store> = store;
        store.close().unwrap();
    }
}

#[cfg(feature = "rocksdb")]
mod rocksdb {
    use crate::subject::{content, fingerprint, source_options};
    use rocksdb::{DB, MergeOperands, Options};
    use std::path::Path;
    use transload_drivers::rocksdb::RocksdbDriver;
    use transload_store::contract::Entries;
    use transload_store::{Driver, KeyRange, Kind, Result, Scan, Store};

    fn options() -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options
    }

    fn open(path: &Path, space: Option<&str>) -> Result<Box<dyn Store>> {
        let scratch = tempfile::tempdir().unwrap();
        let mut options = source_options(scratch.path());
        options.space = space.map(str::to_owned);
        RocksdbDriver.open_source(path, &options)
    }

    #[test]
    fn several_families_need_a_name_and_each_is_read_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let database = DB::open_cf(&options(), &path, ["default", "state"]).unwrap();
        database.put(b"k", b"of the default family").unwrap();
        database.put_cf(database.cf_handle("state").unwrap(), b"k", b"of state").unwrap();
        drop(database);
        assert_eq!(open(&path, None).err().map(|error| error.kind()), Some(Kind::InvalidInput));
        assert_eq!(open(&path, Some("x")).err().map(|error| error.kind()), Some(Kind::NotFound));
        for (family, value) in [("default", &b"of the default family"[..]), ("state", b"of state")]
        {
            let store = open(&path, Some(family)).unwrap();
            assert_eq!(content(&*store).unwrap(), Entries::from([(b"k".into(), value.into())]));
        }
    }

    #[test]
    fn another_order_is_refused_whoever_asks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut reversed = options();
        reversed.set_comparator("transload.test.Reversed", Box::new(|a, b| b.cmp(a)));
        let database = DB::open(&reversed, &path).unwrap();
        database.put(b"a", b"1").unwrap();
        drop(database);
        assert_eq!(open(&path, None).err().map(|error| error.kind()), Some(Kind::UnknownFormat));
        let refusal = transload_drivers::recognise(&path).unwrap_err();
        assert_eq!(refusal.kind(), Kind::UnknownFormat);
        assert!(refusal.to_string().contains("transload.test.Reversed"), "{refusal}");
    }

    /// Keeps the first operand, so that a value depends on the program that merges.
    #[allow(clippy::unnecessary_wraps, reason = "the signature is RocksDB's")]
    fn first(_: &[u8], value: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
        Some(value.or_else(|| operands.iter().next()).unwrap_or_default().to_vec())
    }

    #[test]
    fn merge_operands_are_an_error_and_never_a_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut merging = options();
        merging.set_merge_operator_associative("transload.test.First", first);
        let database = DB::open(&merging, &path).unwrap();
        database.put(b"a", b"1").unwrap();
        database.merge(b"b", b"2").unwrap();
        database.put(b"c", b"3").unwrap();
        drop(database);
        let read = open(&path, None).and_then(|store| content(&*store));
        assert!(read.is_err(), "{read:?}");
    }

    #[test]
    fn tables_log_and_deletions_of_a_running_program_are_read_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let database = DB::open_cf(&options(), &path, ["default"]).unwrap();
        let mut model = Entries::new();
        for round in 0..6_u32 {
            for n in 0..20_000_u32 {
                let key = (n * 7 % 20_000).to_be_bytes();
                if n % 11 == round {
                    database.delete(key).unwrap();
                    model.remove(&key[..]);
                } else {
                    let value = [round.to_be_bytes(), n.to_be_bytes()].concat().repeat(8);
                    database.put(key, &value).unwrap();
                    model.insert(key.to_vec(), value);
                }
            }
            if round == 3 {
                let family = database.cf_handle("default").unwrap();
                database
                    .delete_range_cf(family, 100_u32.to_be_bytes(), 200_u32.to_be_bytes())
                    .unwrap();
                model.retain(|key, _| {
                    !(&100_u32.to_be_bytes()[..]..&200_u32.to_be_bytes()).contains(&key.as_slice())
                });
            }
            // The last rounds stay in the log.
            if round < 4 {
                database.flush().unwrap();
            }
        }
        let before = fingerprint(folder.path());
        let store = open(&path, None).unwrap();
        assert!(content(&*store).unwrap() == model);
        let snapshot = store.snapshot().unwrap();
        let points = snapshot.split_points(&KeyRange::all(), 100_000).unwrap();
        assert!(!points.is_empty());
        let mut entries = 0;
        for range in KeyRange::all().split_at(&points) {
            let mut scan = Scan::new(&*snapshot, &range).unwrap();
            while scan.next().unwrap().is_some() {}
            entries += scan.receipt().unwrap().entries;
        }
        assert_eq!(entries, model.len() as u64);
        drop(snapshot);
        store.close().unwrap();
        assert!(before == fingerprint(folder.path()), "the database was changed");
        drop(database);
    }
}
