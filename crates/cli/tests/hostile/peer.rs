//! Whoever answers at the node's RPC address is not believed: the databases are read.

use crate::homes::{Copy, changed, helper, imprint, transload};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;

/// Answers every request with the same bytes until the test ends, and says where.
fn answering(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let request = BufReader::new(&stream);
            // The end of the request's head.
            request.lines().map_while(Result::ok).find(String::is_empty);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            // Whoever asked may have gone.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

#[test]
fn a_peer_that_claims_new_blocks_or_answers_garbage_is_never_believed() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp");
    let home = copy.home();
    let home_text = home.to_str().unwrap();
    let migrated = transload(&["migrate", home_text, "--to", "pebble1", "--yes"]);
    assert_eq!(migrated.code, 0, "{}", migrated.said);
    let before = imprint(&home);
    let claim = r#"{"result":{"sync_info":{"latest_block_height":"999999","catching_up":false}}}"#;
    let answers: [Vec<u8>; 4] =
        [claim.into(), b"not JSON".to_vec(), b"{\"result\":7}".to_vec(), vec![b'['; 3 << 20]];
    for answer in answers {
        let rpc = answering(answer);
        let call = ["status", home_text, "--wait", "--rpc", &rpc, "--timeout", "2"];
        let outcome = transload(&call);
        assert_eq!(outcome.code, 5, "{}{}", outcome.shown, outcome.said);
        assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
    }
}
