//! Depth first through all choices, each run from the beginning.

use std::collections::HashSet;
use std::time::Instant;

use super::world::{Scenario, World};

/// A scenario that grows beyond this is too large for every run of the tests.
const MOST_STATES: usize = 300_000;

/// Goes through everything that can happen, and checks each end.
pub(super) fn explore(name: &str, scenario: Scenario) {
    let start = Instant::now();
    let (mut seen, mut path, mut ends) = (HashSet::new(), Vec::new(), 0);
    loop {
        ends += usize::from(run(scenario, &mut path, &mut seen));
        assert!(seen.len() < MOST_STATES, "{name}: too many states");
        while path.pop_if(|(choice, choices)| *choice + 1 == *choices).is_some() {}
        let Some((choice, _)) = path.last_mut() else { break };
        *choice += 1;
    }
    let elapsed = start.elapsed();
    println!("{name}: {} states, {ends} ends, {elapsed:.1?}", seen.len());
}

/// Repeats the choices of `path` and goes on with the first one each time. Whether it came to an end that is new.
fn run(scenario: Scenario, path: &mut Vec<(usize, usize)>, seen: &mut HashSet<u64>) -> bool {
    let mut world = World::new(scenario);
    for depth in 0.. {
        let actions = world.actions();
        if actions.is_empty() {
            break;
        }
        if depth == path.len() {
            if !seen.insert(world.fingerprint()) {
                return false;
            }
            path.push((0, actions.len()));
        }
        let (choice, choices) = path[depth];
        assert_eq!(choices, actions.len(), "a run cannot be repeated: {}", world.trace());
        world.act(actions[choice]);
    }
    world.finish();
    true
}
