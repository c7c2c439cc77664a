//! Several processes refresh one session, in every order in which their steps can fall, with crashes, failures and the
//! passing of time between any two.
//!
//! Nothing of the protocol is rebuilt here: each process is a Tokio runtime with [`Sessions`] of its own, and runs what
//! the product runs, from `ensure_fresh` to the swap and the upkeep. Only what is outside of it is a model: the store
//! ([`MemoryStore`], which keeps the contract of all stores), the provider with refresh tokens that may be used once,
//! and the clock. Each operation of store and provider waits at a gate until the [explorer](explore) lets it pass.
//! States that were seen before are not gone through again; a state is what each process has been told so far, what the
//! store and the provider hold, and the time. How many there were each scenario prints (`--nocapture`).
//!
//! Left out: the feed of changes (a process hears of another one's tokens when it asks for the lease), a process that
//! stops between its look at the clock and the provider's receipt of its request, and clocks that differ.
//!
//! What must hold at every end of every run ([`World::check`](world::World)):
//!
//! 1. Each request of a living process is answered, in time.
//! 2. Without a fault the provider is asked once; with each fault at most once more.
//! 3. A refresh token is used twice only if whoever used it first could not store its successor: it died, the answer
//!    was lost, or the store took nothing from it until its lease ended. Call that a lost rotation.
//! 4. The session ends only after a lost rotation, and only with a provider that takes each token once. With one that
//!    allows a token again for a while no session ever ends.
//! 5. Otherwise each living process serves the session in the end, and the store holds the provider's newest token.
//!    A generation is never replaced by an older one.

mod explore;
mod gates;
mod world;

use explore::explore;
use world::Scenario;

/// All faults at rest, tokens expired, a provider that takes each refresh token once.
const TWO: Scenario = Scenario {
    processes: 2,
    expired: true,
    strict: true,
    shared: true,
    crashes: 0,
    store_failures: 0,
    provider_failures: 0,
    time_jumps: 0,
};

#[test]
fn two_processes() {
    explore("two processes", TWO);
    explore("two processes, tokens still good", Scenario { expired: false, ..TWO });
    explore("two processes, time passes", Scenario { time_jumps: 2, ..TWO });
}

#[test]
fn two_processes_and_a_crash() {
    explore("a crash", Scenario { crashes: 1, time_jumps: 2, ..TWO });
    explore("a crash, tokens still good", Scenario { expired: false, crashes: 1, time_jumps: 1, ..TWO });
    explore("a crash, reuse allowed", Scenario { strict: false, crashes: 1, time_jumps: 2, ..TWO });
}

#[test]
fn two_processes_and_a_store_that_fails() {
    explore("the store fails once", Scenario { store_failures: 1, time_jumps: 1, ..TWO });
    explore("the store fails twice", Scenario { store_failures: 2, ..TWO });
    explore("the store fails, reuse allowed", Scenario { strict: false, store_failures: 2, ..TWO });
    explore("a crash, and the store fails", Scenario { crashes: 1, store_failures: 1, time_jumps: 1, ..TWO });
}

#[test]
fn two_processes_and_a_provider_that_fails() {
    explore("the provider fails", Scenario { provider_failures: 1, time_jumps: 2, ..TWO });
    explore(
        "provider and store fail",
        Scenario { provider_failures: 1, store_failures: 1, time_jumps: 1, ..TWO },
    );
}

#[test]
fn one_process_alone_goes_on_without_its_store() {
    let one = Scenario { processes: 1, shared: false, ..TWO };
    explore("alone", Scenario { crashes: 0, store_failures: 3, time_jumps: 2, ..one });
    explore("alone, tokens still good", Scenario { expired: false, store_failures: 3, time_jumps: 1, ..one });
}

#[test]
fn three_processes() {
    let three = Scenario { processes: 3, ..TWO };
    explore("three processes", Scenario { time_jumps: 1, ..three });
    explore("three processes and a crash", Scenario { crashes: 1, ..three });
    explore("three processes and two crashes", Scenario { crashes: 2, ..three });
    explore("three processes, the store fails", Scenario { store_failures: 1, ..three });
}
