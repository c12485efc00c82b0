//! The table, walked exhaustively: every state with every event.

use super::*;
use std::collections::{BTreeSet, VecDeque};

fn states() -> Vec<State> {
    Phase::ALL.into_iter().flat_map(|phase| [State::In(phase), State::Halted(phase)]).collect()
}

/// Every state that a migration can come to.
fn reachable() -> BTreeSet<State> {
    let mut seen = BTreeSet::from([State::In(Phase::Planned)]);
    let mut todo = VecDeque::from([State::In(Phase::Planned)]);
    while let Some(state) = todo.pop_front() {
        for event in Event::ALL {
            if let Ok((after, _)) = next(state, event)
                && seen.insert(after)
            {
                todo.push_back(after);
            }
        }
    }
    seen
}

#[test]
fn every_state_and_event_gives_what_the_written_table_says() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for state in states() {
        for event in Event::ALL {
            if let Ok((after, effects)) = next(state, event) {
                writeln!(text, "{state:?} + {event:?} -> {after:?} {effects:?}").unwrap();
            }
        }
    }
    assert_eq!(text, include_str!("table.txt"), "\n{text}");
}

#[test]
fn no_row_is_written_twice() {
    let rows: BTreeSet<_> = TABLE.iter().map(|(from, on, ..)| (*from, *on)).collect();
    assert_eq!(rows.len(), TABLE.len());
}

#[test]
fn every_phase_can_be_come_to() {
    let reached: BTreeSet<Phase> = reachable().into_iter().map(State::phase).collect();
    assert_eq!(reached, Phase::ALL.into_iter().collect());
}

#[test]
fn a_swap_happens_only_to_what_was_verified_after_it_was_last_copied() {
    // The walk remembers whether the target is verified: a copy or a new attempt forgets it.
    let mut seen = BTreeSet::from([(State::In(Phase::Planned), false)]);
    let mut todo: VecDeque<_> = seen.iter().copied().collect();
    while let Some((state, verified)) = todo.pop_front() {
        for event in Event::ALL {
            let Ok((after, effects)) = next(state, event) else { continue };
            let mut verified = verified || event == Event::Verified;
            if effects.contains(&Effect::NewAttempt) || effects.contains(&Effect::Copy) {
                verified = false;
            }
            assert!(
                verified || !effects.contains(&Effect::Swap),
                "{state} + {event} swaps what is not verified"
            );
            if seen.insert((after, verified)) {
                todo.push_back((after, verified));
            }
        }
    }
}

#[test]
fn an_approval_alone_starts_a_swap_for_the_first_time() {
    for state in states() {
        for event in Event::ALL {
            let Ok((_, effects)) = next(state, event) else { continue };
            if effects.contains(&Effect::Swap) {
                let first = (state, event) == (State::In(Phase::ReadyToCutOver), Event::Approved);
                let again =
                    (state, event) == (State::Halted(Phase::CuttingOver), Event::ResumeAsked);
                assert!(first || again, "{state} + {event}");
            }
        }
    }
}

#[test]
fn nothing_is_freed_unless_a_person_said_so() {
    for state in states() {
        for event in Event::ALL {
            let Ok((_, effects)) = next(state, event) else { continue };
            if effects.contains(&Effect::Free) {
                let resumed =
                    (state, event) == (State::Halted(Phase::Finalizing), Event::ResumeAsked);
                assert!(event == Event::FinalizeAsked || resumed, "{state} + {event}");
            }
        }
    }
}

#[test]
fn there_is_a_way_back_from_every_state_in_which_a_target_exists_and_the_source_is_kept() {
    for state in reachable() {
        let back = next(state, Event::RollBackAsked).is_ok();
        let expected = match state.phase() {
            Phase::Planned
            | Phase::Finalizing
            | Phase::Finalized
            | Phase::RollingBack
            | Phase::RolledBack => false,
            Phase::Copying
            | Phase::Verifying
            | Phase::ReadyToCutOver
            | Phase::CuttingOver
            | Phase::Soaking => true,
        };
        assert_eq!(back, expected, "{state}");
    }
}

#[test]
fn every_halted_state_can_be_resumed_and_hears_nothing_by_itself() {
    for phase in Phase::ALL {
        let halted = State::Halted(phase);
        assert_eq!(next(halted, Event::ResumeAsked), Ok((State::In(phase), entry(phase))));
        for event in
            [Event::Copied, Event::Verified, Event::Approved, Event::FoundNew, Event::Freed]
        {
            assert_eq!(next(halted, event), Err(Refused { state: halted, event }));
        }
    }
}
