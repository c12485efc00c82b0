//! SIGINT, SIGTERM and SIGHUP ask a running operation to stop at the next good place.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use transload_engine::{Cancel, Error, Kind, Result};

/// Sets the handlers: the first signal asks, a second one of SIGINT ends the process at once (the
/// journal makes that safe).
pub(crate) fn ask_on_signal(cancel: &Cancel) -> Result<()> {
    let refused =
        |error: std::io::Error| Error::new(Kind::Refused, "set signal handlers", error.to_string());
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(refused)?;
    let cancel = cancel.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if cancel.is_asked() && signal == SIGINT {
                    // The default action ends the process; it is what the user wants by now.
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                cancel.ask();
            }
        })
        .map_err(refused)?;
    Ok(())
}
