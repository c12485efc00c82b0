//! JSON-RPC to a node on loopback, over the plainest HTTP that it speaks.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A node that doesn't answer within this time counts as silent.
const ANSWER_SECONDS_MAX: u64 = 30;

/// Longest answer that is read: a block of the largest homes is below 1 MiB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The RPC server of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rpc {
    /// Its port on loopback.
    pub(crate) port: u16,
}

impl Rpc {
    /// Calls a method.
    ///
    /// # Errors
    /// Nobody listens, the answer is no JSON, or the node answers with an error.
    pub(crate) fn call(self, method: &str, params: &Value) -> Result<Value, String> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.post(&body.to_string()).map_err(|error| format!("{method}: {error}"))?;
        let (_, text) = answer.split_once("\r\n\r\n").ok_or(format!("{method}: cut off"))?;
        let mut answer: Value =
            serde_json::from_str(text).map_err(|error| format!("{method}: {error}: {text}"))?;
        if answer["error"].is_null() {
            Ok(answer["result"].take())
        } else {
            Err(format!("{method}: {}", answer["error"]))
        }
    }

    /// HTTP/1.0, so that the body ends where the connection does.
    fn post(self, body: &str) -> std::io::Result<String> {
        let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        write!(
            stream,
            "POST / HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The height that the node has reached.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub(crate) fn height(self) -> Result<u64, String> {
        let status = self.call("status", &json!({}))?;
        number(&status["sync_info"]["latest_block_height"])
    }
}

/// A number that the node writes as text.
///
/// # Errors
/// It is none.
pub(crate) fn number(value: &Value) -> Result<u64, String> {
    let text = value.as_str().ok_or_else(|| format!("{value} is no text"))?;
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// Ports that were free a moment ago.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
