//! A config file in which a key is set: everything else says what it said.

use crate::input::Input;
use toml::{Table, Value};
use transload_engine::decoders::set_config_key;

const NEW: &str = "pebbledb";

/// What the file says otherwise than before, once the key is left out of both.
fn rest_of(text: &str, key: &[&str]) -> Option<String> {
    let mut table: Table = text.parse().ok()?;
    let (last, folders) = key.split_last()?;
    let mut inner = &mut table;
    for folder in folders {
        inner = inner.get_mut(*folder)?.as_table_mut()?;
    }
    inner.remove(*last);
    // As text, for NaN is not equal to itself.
    Some(format!("{table:?}"))
}

fn value_of<'t>(table: &'t Table, key: &[&str]) -> Option<&'t Value> {
    let (last, folders) = key.split_last()?;
    let inner = folders.iter().try_fold(table, |table, folder| table.get(*folder)?.as_table())?;
    inner.get(*last)
}

/// The first byte chooses the key and whether it is there; the rest is the file.
pub(crate) fn edit(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let key = if choice & 1 == 0 { "db_backend" } else { "storage.engine" };
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    let path: Vec<&str> = key.split('.').collect();
    let before: Option<Table> = text.parse().ok();
    let old = before.as_ref().and_then(|table| value_of(table, &path)?.as_str());
    match set_config_key(text, key, old, NEW) {
        Ok(edited) => {
            let table: Table = edited.parse().expect("it is TOML still");
            assert_eq!(value_of(&table, &path).and_then(Value::as_str), Some(NEW));
            assert_eq!(rest_of(&edited, &path), rest_of(text, &path), "{text:?} {edited:?}");
            // Set again, nothing changes.
            assert_eq!(
                set_config_key(&edited, key, Some("other"), NEW).as_deref().ok(),
                Some(&*edited)
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "\0# top\r\n\r\n  db_backend   = 'goleveldb' # engine\r\n[storage]\r\n\tx = 1\r\n",
        "\0db_backend = \"goleveldb\"\nproxy_app = \"tcp://127.0.0.1:26658\"\n[p2p]\nladdr = \"\"\n",
        "\x01[storage]\nengine = \"a\"\n",
        "\x01storage = { engine = \"a\", x = [1, 2] }\n",
        "\x01storage.engine = '''a'''\n",
        "\0a = 1\n[storage]\n",
        "\0\"db_backend\" = \"\"\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
