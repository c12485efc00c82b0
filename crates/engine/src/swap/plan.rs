//! What may stand where, and which step comes next. Pure.
//!
//! Guards go first, the application's config and database before the others, because an
//! application opens its database before it looks at any config. What is put in or set goes the
//! other way round. So at every moment each database is old, guarded or new, old and new never
//! stand side by side, and unless all of them are on one side the config is guarded.

use super::config::Setting;
use crate::moves::Standing;

/// Where one database stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The old database is live.
    Old,
    /// The guard is live.
    Guarded,
    /// The new database is live.
    New,
}

impl Place {
    /// The word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Place::Old => "old",
            Place::Guarded => "guarded",
            Place::New => "new",
        }
    }
}

/// Where a swap leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The old databases and config, whole.
    Old,
    /// The new databases and config, whole.
    New,
}

impl Goal {
    pub(super) fn place(self) -> Place {
        match self {
            Goal::Old => Place::Old,
            Goal::New => Place::New,
        }
    }

    pub(super) fn setting(self) -> Setting {
        match self {
            Goal::Old => Setting::Old,
            Goal::New => Setting::New,
        }
    }

    pub(super) fn standing(self) -> Standing {
        match self {
            Goal::Old => Standing::Old,
            Goal::New => Standing::New,
        }
    }
}

/// One exchange. A number counts databases in the swap's order, or config files with the
/// application's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Brings a config file to a setting.
    Config(usize, Setting),
    /// Brings a database to a place.
    Database(usize, Place),
}

/// The next step to `goal`; `None` when the home stands there, whole.
pub(super) fn next_step(goal: Goal, places: &[Place], settings: &[Setting]) -> Option<Step> {
    let (here, wanted) = (goal.place(), goal.setting());
    if places.iter().all(|place| *place == here) {
        let last = settings.iter().rposition(|setting| *setting != wanted)?;
        return Some(match settings[last] {
            Setting::Guard => Step::Config(last, wanted),
            Setting::Old | Setting::New => Step::Config(last, Setting::Guard),
        });
    }
    if let Some(first) = settings.iter().position(|setting| *setting != Setting::Guard) {
        return Some(Step::Config(first, Setting::Guard));
    }
    let away = |place: &Place| *place != here && *place != Place::Guarded;
    if let Some(first) = places.iter().position(away) {
        return Some(Step::Database(first, Place::Guarded));
    }
    let last = places.iter().rposition(|place| *place == Place::Guarded)?;
    Some(Step::Database(last, here))
}

/// Only what the steps can leave is known; everything else is for a person.
pub(super) fn judge(places: &[Place], settings: &[Setting]) -> Standing {
    let all_places = |place| places.iter().all(|one| *one == place);
    let none_is = |place| places.iter().all(|one| *one != place);
    let all_set = |setting| settings.iter().all(|one| *one == setting);
    let none_set = |setting| settings.iter().all(|one| *one != setting);
    if all_places(Place::Old) && all_set(Setting::Old) {
        Standing::Old
    } else if all_places(Place::New) && all_set(Setting::New) {
        Standing::New
    } else if (all_places(Place::Old) && none_set(Setting::New))
        || (all_set(Setting::Guard) && (none_is(Place::New) || none_is(Place::Old)))
        // Somebody has removed new databases, or guards stand where they will be put in.
        || (none_is(Place::Old) && none_set(Setting::Old))
    {
        Standing::Between
    } else {
        Standing::Unknown("databases and config files contradict one another".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    type State = (Vec<Place>, Vec<Setting>);

    fn after((mut places, mut settings): State, step: Step) -> State {
        match step {
            Step::Config(which, setting) => {
                // One exchange leads over the guard, never past it.
                assert!(settings[which] == Setting::Guard || setting == Setting::Guard);
                settings[which] = setting;
            }
            Step::Database(which, place) => {
                assert!(places[which] == Place::Guarded || place == Place::Guarded);
                places[which] = place;
            }
        }
        (places, settings)
    }

    /// Every state that steps in either direction, turned round at any moment, can reach.
    fn reachable(databases: usize, configs: usize) -> BTreeSet<State> {
        let mut seen = BTreeSet::new();
        let mut open = vec![(vec![Place::Old; databases], vec![Setting::Old; configs])];
        while let Some(state) = open.pop() {
            if !seen.insert(state.clone()) {
                continue;
            }
            for goal in [Goal::Old, Goal::New] {
                if let Some(step) = next_step(goal, &state.0, &state.1) {
                    open.push(after(state.clone(), step));
                }
            }
        }
        seen
    }

    #[test]
    fn wherever_it_is_turned_round_a_node_finds_one_side_whole_or_a_guard() {
        for databases in 1..=4 {
            for configs in 1..=2 {
                for (places, settings) in reachable(databases, configs) {
                    let standing = judge(&places, &settings);
                    assert!(!matches!(standing, Standing::Unknown(_)), "{places:?} {settings:?}");
                    let mixed = places.contains(&Place::Old) && places.contains(&Place::New);
                    assert!(!mixed, "{places:?}");
                    let guarded = settings.contains(&Setting::Guard);
                    let whole = matches!(standing, Standing::Old | Standing::New);
                    assert!(guarded || whole, "{places:?} {settings:?}");
                    let moving = places.iter().any(|place| *place != places[0])
                        || places[0] == Place::Guarded;
                    let all_guarded = settings.iter().all(|one| *one == Setting::Guard);
                    assert!(!moving || all_guarded, "{places:?} {settings:?}");
                }
            }
        }
    }

    #[test]
    fn from_every_state_both_ends_are_reached_in_bounded_steps() {
        for start in reachable(3, 2) {
            for goal in [Goal::Old, Goal::New] {
                let mut state = start.clone();
                let mut steps = 0;
                while let Some(step) = next_step(goal, &state.0, &state.1) {
                    state = after(state, step);
                    steps += 1;
                    assert!(steps <= 2 * (3 + 2), "{start:?} never ends");
                }
                assert_eq!(judge(&state.0, &state.1), goal.standing());
            }
        }
    }

    #[test]
    fn the_application_is_guarded_first_and_let_go_last() {
        let mut state = (vec![Place::Old; 2], vec![Setting::Old; 2]);
        let mut steps = Vec::new();
        while let Some(step) = next_step(Goal::New, &state.0, &state.1) {
            steps.push(step);
            state = after(state, step);
        }
        let expected = [
            Step::Config(0, Setting::Guard),
            Step::Config(1, Setting::Guard),
            Step::Database(0, Place::Guarded),
            Step::Database(1, Place::Guarded),
            Step::Database(1, Place::New),
            Step::Database(0, Place::New),
            Step::Config(1, Setting::New),
            Step::Config(0, Setting::New),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn every_combination_is_judged_and_mixed_sides_are_never_whole() {
        let places = [Place::Old, Place::Guarded, Place::New];
        let settings = [Setting::Old, Setting::Guard, Setting::New];
        for (one, two) in places.iter().flat_map(|one| places.map(|two| (*one, two))) {
            for (app, node) in settings.iter().flat_map(|app| settings.map(|node| (*app, node))) {
                let standing = judge(&[one, two], &[app, node]);
                let sides = [(Place::Old, Setting::Old), (Place::New, Setting::New)]
                    .map(|(place, set)| (one, two) == (place, place) && (app, node) == (set, set));
                let whole = matches!(standing, Standing::Old | Standing::New);
                assert_eq!(whole, sides.contains(&true), "{one:?} {two:?} {app:?} {node:?}");
                let node_starts =
                    ![app, node].contains(&Setting::Guard) && ![one, two].contains(&Place::Guarded);
                if node_starts && !whole {
                    assert!(matches!(standing, Standing::Unknown(_)));
                }
            }
        }
    }
}
