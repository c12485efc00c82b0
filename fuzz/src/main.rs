//! `fuzz`: built by `cargo xtask fuzz`, the libFuzzer program of the target that the environment
//! variable `TRANSLOAD_FUZZ_TARGET` names. Built otherwise, it lists the targets, writes a
//! target's seeds, packs a corpus, or runs single inputs without instrumentation.

#![cfg_attr(transload_fuzz, no_main)]

#[cfg(transload_fuzz)]
mod guided {
    //! Under libFuzzer.

    use libfuzzer_sys::fuzz_target;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::sync::OnceLock;
    use transload_fuzz::Target;

    static TARGET: OnceLock<&'static Target> = OnceLock::new();

    /// Inputs are of a few kilobytes: a decoder that asks for more than this trusts a length that
    /// it has merely read. What libFuzzer itself needs is in it.
    const MEMORY_BYTES_MAX: u64 = 256 << 20;

    fn begin() {
        let name = std::env::var("TRANSLOAD_FUZZ_TARGET").unwrap_or_default();
        let found = transload_fuzz::target(&name);
        TARGET.get_or_init(|| found.unwrap_or_else(|| panic!("there is no target {name:?}")));
        let limit = Rlimit { current: Some(MEMORY_BYTES_MAX), ..getrlimit(Resource::Data) };
        setrlimit(Resource::Data, limit).expect("memory can be limited");
    }

    fuzz_target!(
        init: begin(),
        |bytes: &[u8]| -> () {
            if let Some(target) = TARGET.get() {
                (target.run)(bytes);
            }
        }
    );
}

#[cfg(not(transload_fuzz))]
fn main() -> std::process::ExitCode {
    match plain::run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuzz: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(transload_fuzz))]
mod plain {
    //! Without libFuzzer.

    use std::fs;
    use std::path::Path;
    use transload_fuzz::{TARGETS, Target, kept, pack, target};

    /// What a target's kept corpus may have: enough to begin well, little enough to be committed.
    const KEPT_BYTES_MAX: usize = 8 << 10;

    pub(super) fn run(arguments: &[String]) -> Result<(), String> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments.as_slice() {
            ["list"] => {
                for target in TARGETS {
                    println!("{} {}", target.name, target.bytes_max);
                }
                Ok(())
            }
            ["seeds", name, folder] => seeds(find(name)?, Path::new(folder)),
            ["pack", name, folder] => {
                let count = pack(find(name)?, Path::new(folder), KEPT_BYTES_MAX)?;
                println!("{name}: {count} inputs kept");
                Ok(())
            }
            ["run", name, files @ ..] => {
                let target = find(name)?;
                for file in files {
                    (target.run)(&fs::read(file).map_err(|error| format!("{file}: {error}"))?);
                }
                Ok(())
            }
            _ => Err("list | seeds NAME FOLDER | pack NAME FOLDER | run NAME FILE...".into()),
        }
    }

    fn find(name: &str) -> Result<&'static Target, String> {
        target(name).ok_or_else(|| format!("there is no target {name}"))
    }

    /// Writes the seeds and the kept corpus, a file an input.
    fn seeds(target: &Target, folder: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        for (number, bytes) in (target.seeds)().iter().chain(&kept(target)?).enumerate() {
            if bytes.len() <= target.bytes_max {
                fs::write(folder.join(format!("seed-{number:05}")), bytes).map_err(failed)?;
            }
        }
        Ok(())
    }
}
