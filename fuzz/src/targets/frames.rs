//! What a helper sends: its answers, and streams of entries.

use super::files::frames;
use crate::input::Input;
use transload_drivers::gostore::decoders;

/// Bytes of a frame before its payload.
const HEADER_BYTES: usize = 5;

/// The payloads of single answers.
pub(crate) fn answers(bytes: &[u8]) {
    let _ = (decoders::hello_reply(bytes), decoders::opened(bytes));
    if let Some(again) = decoders::end(bytes) {
        assert_eq!(again, bytes);
    }
    if let Some(again) = decoders::values(bytes, bytes.len()) {
        assert_eq!(again, bytes);
    }
    // Text that is no UTF-8 takes more room once it is replaced, and the rest is ours.
    assert!(decoders::error(bytes).to_string().len() <= 3 * bytes.len() + 512);
}

pub(crate) fn answer_seeds() -> Vec<Vec<u8>> {
    frames().into_iter().filter_map(|frame| Some(frame.get(HEADER_BYTES..)?.to_vec())).collect()
}

/// A stream: any bytes; entries sent as they should be; and those with one byte damaged or cut
/// off, which must never be a shorter success.
pub(crate) fn stream(bytes: &[u8]) {
    let _ = decoders::stream(bytes);
    let mut input = Input::new(bytes);
    let (at, flip) = (usize::from(input.u16()), input.byte());
    let mut sent = vec![Vec::new()];
    while !input.is_empty() {
        if input.byte() & 7 == 0 {
            sent.push(Vec::new());
        }
        let entry = (input.piece().to_vec(), input.piece().to_vec());
        sent.last_mut().expect("it began with one").push(entry);
    }
    let whole = decoders::written(&sent).expect("inputs are short");
    let entries: Vec<_> = sent.into_iter().flatten().collect();
    assert_eq!(decoders::stream(&whole).expect("it is whole"), entries);
    let at = at % whole.len();
    if flip == 0 {
        assert!(decoders::stream(&whole[..at]).is_err(), "cut off at {at}");
    } else {
        let mut damaged = whole;
        damaged[at] ^= flip;
        assert!(decoders::stream(&damaged).is_err(), "damaged at {at}");
    }
}

pub(crate) fn stream_seeds() -> Vec<Vec<u8>> {
    let entry = |key: &str, value: &str| (key.into(), value.into());
    let frames = [vec![entry("a", "one"), entry("b", "")], vec![entry("c", "three")]];
    vec![
        decoders::written(&frames).unwrap_or_default(),
        decoders::written(&[]).unwrap_or_default(),
        b"\x20\x00\x00\x01\x01a\x03one\x00\x01b\x00".to_vec(),
        b"\x07\x00\x40\x01\x01a\x03one\x00\x01b\x00".to_vec(),
    ]
}
