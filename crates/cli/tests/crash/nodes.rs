//! A real node is started on a copy of the home at every stop of the swap and of the way back:
//! it serves the chain from databases that are whole, or it refuses.
//!
//! Also with the flag and the variable that bypass the config, since operators use them.

use crate::campaign::{MIGRATE, YES};
use crate::settings::Settings;
use crate::stand::{self, Stand};
use crate::victim::Victim;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The last height of the home that is migrated.
const TIP: &str = "\"latest_block_height\":\"300\"";

/// A node that has neither ended nor served by then does neither; it takes a second or two.
const DECIDED: Duration = Duration::from_secs(90);

/// The ways to name the engine: by the config, by the flag, by the variable.
pub(crate) const BYPASSES: [Option<(&str, bool)>; 3] =
    [None, Some(("goleveldb", true)), Some(("pebbledb", false))];

/// Kills at every exchange, there and back, and starts nodes.
pub(crate) fn started(settings: &Settings) {
    let Some(program) = program() else {
        println!("not checked: real nodes between the steps of a swap: none is built");
        return;
    };
    let (served, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let exchanges = |victim: &Victim, command, options: &[&str]| {
        let steps = victim.unharmed(command, options, "nothing");
        let live = ["data/", "config/"].map(|folder| {
            let start = format!("disk: exchanged {}/{folder}", victim.home().display());
            steps.numbers_of(&start)
        });
        live.concat()
    };
    let calm = Victim::new();
    let there = exchanges(&calm, "migrate", &MIGRATE).into_iter().map(|step| (false, step));
    let there: Vec<(bool, u64)> = there.collect();
    let back = exchanges(&calm, "rollback", &YES).into_iter().map(|step| (true, step));
    let stops: Vec<(bool, u64)> = there.into_iter().chain(back).collect();
    settings.each(&stops, |(is_way_back, step)| {
        let victim = Victim::new();
        let run = if is_way_back {
            victim.unharmed("migrate", &MIGRATE, "nothing");
            victim.doomed(step, "rollback", &YES)
        } else {
            victim.doomed(step, "migrate", &MIGRATE)
        };
        let way = if is_way_back { "the way back" } else { "the swap" };
        let when = format!("step {step} of {way} ({})", run.steps.last());
        assert_eq!(run.code, None, "never killed: {when}");
        for bypass in BYPASSES {
            let copy = victim.copied();
            let stands = stand::of(&copy, &when);
            let found = stand::found(&copy, &when);
            let is_whole = match bypass {
                None => matches!(stands, Stand::Whole(_)),
                Some((engine, _)) => found.iter().all(|one| *one == engine),
            };
            let (serves, words) = serves(&program, &copy, bypass);
            assert_eq!(serves, is_whole, "{bypass:?} after {when}, {found:?}: {words}");
            // A node that was refused has made nothing, and taken nothing away.
            assert_eq!(stand::found(&copy, &when), found, "{bypass:?} after {when}");
            if serves { &served } else { &refused }.fetch_add(1, Ordering::Relaxed);
        }
    });
    let [served, refused] = [served, refused].map(AtomicU64::into_inner);
    println!("  {} stops: nodes served {served} times, refused {refused} times", stops.len());
    assert!(served > 0 && refused > 0);
}

/// The node program, where it is built.
pub(crate) fn program() -> Option<PathBuf> {
    let folder = std::env::var_os("TRANSLOAD_NODES")?;
    Some(Path::new(&folder).join("cometbft038")).filter(|program| program.is_file())
}

/// Starts the node on the home and waits until it serves the tip or ends.
pub(crate) fn serves(program: &Path, home: &Path, bypass: Option<(&str, bool)>) -> (bool, String) {
    let [rpc, p2p] = free_ports();
    let words = home.with_extension("words");
    let log = File::create(&words).unwrap();
    let mut command = Command::new(program);
    // Its config stays as it is: whoever migrates looks at it.
    command
        .arg("start")
        .arg("--home")
        .arg(home)
        .args(["--rpc.laddr", &format!("tcp://127.0.0.1:{rpc}"), "--rpc.pprof_laddr="])
        .args(["--p2p.laddr", &format!("tcp://127.0.0.1:{p2p}")])
        .args(["--p2p.persistent_peers=", "--p2p.seeds="]);
    match bypass {
        None => {}
        Some((engine, true)) => {
            command.args(["--db_backend", engine]);
        }
        Some((engine, false)) => {
            command.env("CMT_DB_BACKEND", engine);
        }
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let mut node = Running(command.spawn().unwrap());
    let began = Instant::now();
    let serves = loop {
        if node.0.try_wait().unwrap().is_some() {
            break false;
        }
        if status(rpc).is_ok_and(|answer| answer.contains(TIP)) {
            break true;
        }
        assert!(began.elapsed() < DECIDED, "the node neither serves nor ends");
        std::thread::sleep(Duration::from_millis(50));
    };
    drop(node);
    (serves, std::fs::read_to_string(words).unwrap_or_default())
}

/// A node that is killed when it isn't needed any more: the home is a copy.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /status HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer.retain(|letter| !letter.is_whitespace());
    Ok(answer)
}

/// Ports that were free a moment ago.
fn free_ports() -> [u16; 2] {
    let held = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
