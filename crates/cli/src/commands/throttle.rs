//! `transload throttle`: the limits on the pace of a running migration.

use crate::args::Throttle;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::pace;
use serde::Serialize;
use transload_engine::{Answer, Error, Kind, Request, Result, StatusPace, ask, state_dir_of};

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    #[serde(flatten)]
    pace: StatusPace,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Throttle) -> Result<Exit> {
    let refused = |why: String| Error::new(Kind::Refused, "change the limits", why);
    let request = Request::Throttle(args.pace.change());
    let answer = ask(&state_dir_of(&args.home), request).map_err(|error| {
        error.next(
            "limits can be changed while a migration runs; `transload resume HOME --read-limit \
             20MiB` goes on within one, and `transload migrate` and `plan` take them too",
        )
    })?;
    let pace = match answer {
        Answer::Throttle(pace) => pace,
        Answer::Refused { why } => return Err(refused(why)),
        Answer::NotUnderstood { .. } | Answer::Halting | Answer::Status { .. } => {
            return Err(refused("the transload that runs doesn't know this command".into())
                .next("`transload halt HOME`, then `transload resume HOME` with the limits"));
        }
    };
    let document = Document { schema: "transload.throttle.v1", pace };
    context.print(&document, || text(&document.pace));
    Ok(Exit::Done)
}

fn text(shown: &StatusPace) -> String {
    let mut text = format!("limits: {}\n", pace::limits(&shown.limits));
    let waits = pace::waits(&shown.limits, &shown.waits);
    if !waits.is_empty() {
        text.push_str(&format!("waiting: {waits}\n"));
    }
    text
}
