//! Smooth weighted round robin as a table that is stepped through.
//!
//! Traefik's balancer is earliest deadline first: a server's deadline starts at 1/weight and grows
//! by 1/weight each time that it is chosen. As long as the set of servers does not change, that
//! order repeats with a period of the sum of the weights, so it is computed once and a request
//! costs one atomic increment instead of a lock.

/// Longest table. Weights whose sum is larger are scaled down, none below one turn.
const LONGEST: u64 = 16_384;

/// Order in which servers get their turn: indexes into `weights`, one period long.
///
/// A weight of zero or less never gets a turn; no turn at all gives an empty table.
pub(super) fn turns(weights: &[i64]) -> Box<[u16]> {
    let shares = shares(weights);
    let mut turns: Vec<(u64, u16)> = Vec::new();
    for (server, &share) in (0_u16..).zip(&shares) {
        turns.extend((1..=share).map(|turn| (deadline(turn, share), server)));
    }
    // The sort is stable: equal deadlines go in the order of the servers.
    turns.sort_by_key(|&(deadline, _)| deadline);
    turns.into_iter().map(|(_, server)| server).collect()
}

/// `turn / share` as a fixed-point number; exact enough to order any two turns of a table of ours.
fn deadline(turn: u64, share: u64) -> u64 {
    (turn << 40) / share
}

/// Turns per period, reduced by the greatest common divisor and bounded by [`LONGEST`].
fn shares(weights: &[i64]) -> Vec<u64> {
    let weights: Vec<u64> = weights
        .iter()
        .take(usize::from(u16::MAX))
        .map(|&weight| u64::try_from(weight).unwrap_or(0).min(u64::from(u32::MAX)))
        .collect();
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let reduced: Vec<u64> = weights.iter().map(|weight| weight / divisor).collect();
    let sum: u64 = reduced.iter().sum();
    if sum <= LONGEST {
        return reduced;
    }
    let scale = |weight: u64| match weight {
        0 => 0,
        weight => (weight * LONGEST / sum).max(1),
    };
    reduced.into_iter().map(scale).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_weights_alternate() {
        assert_eq!(*turns(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(*turns(&[7, 7]), [0, 1]);
    }

    #[test]
    fn turns_are_spread_and_not_bursty() {
        assert_eq!(*turns(&[3, 1]), [0, 0, 0, 1]);
        assert_eq!(*turns(&[2, 1]), [0, 0, 1]);
        // 5:2 — the light server's turns are apart.
        assert_eq!(*turns(&[5, 2]), [0, 0, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn weights_of_zero_and_less_never_get_a_turn() {
        assert_eq!(*turns(&[0, 1, -3]), [1]);
        assert!(turns(&[0, -1]).is_empty());
        assert!(turns(&[]).is_empty());
    }

    #[test]
    fn huge_weights_are_scaled_and_nobody_starves() {
        let table = turns(&[i64::MAX, 1]);
        assert!(table.len() <= 16_385);
        assert_eq!(table.iter().filter(|&&server| server == 1).count(), 1);
    }

    proptest! {
        #[test]
        fn a_period_holds_each_server_as_often_as_its_weight_says(weights in proptest::collection::vec(0_i64..50, 1..8)) {
            let table = turns(&weights);
            let divisor = weights.iter().map(|&w| w as u64).fold(0, greatest_common_divisor).max(1);
            for (server, &weight) in weights.iter().enumerate() {
                let seen = table.iter().filter(|&&turn| usize::from(turn) == server).count() as u64;
                prop_assert_eq!(seen, weight as u64 / divisor);
            }
        }

        #[test]
        fn any_prefix_is_within_one_turn_of_its_share(weights in proptest::collection::vec(1_i64..20, 2..6)) {
            let table = turns(&weights);
            let sum: i64 = weights.iter().sum();
            let divisor = weights.iter().map(|&w| w as u64).fold(0, greatest_common_divisor) as i64;
            for (server, &weight) in weights.iter().enumerate() {
                let mut seen = 0_i64;
                for (position, &turn) in table.iter().enumerate() {
                    seen += i64::from(usize::from(turn) == server);
                    let due = (position as i64 + 1) as f64 * weight as f64 / sum as f64;
                    // A deadline scheduler gives nobody more than a turn too many, and nobody waits
                    // longer than every other server's extra turn.
                    prop_assert!((seen as f64) < due + weights.len() as f64, "{} {}", seen, due);
                    prop_assert!((seen as f64) > due - 1.001 - weights.len() as f64);
                }
                prop_assert_eq!(seen, weight / divisor);
            }
        }
    }
}
