//! Room for open files: every connection is one.

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the table has room for from the start: half a megabyte of the kernel's memory.
const ROOM: u64 = 65_536;

/// Raises the soft limit of open files to the hard one, as Go does for Traefik, and has the kernel make its table of them
/// large enough at once.
///
/// Linux doubles that table when it is full. Where threads share it, whoever opens the file that finds it full sleeps
/// until no core can still look at the old one (`expand_fdtable` waits for `synchronize_rcu`): a worker stood still for
/// 30 ms while its first thousand connections came. To be called while there is one thread, and nothing waits.
pub fn make_room() {
    let limit = getrlimit(Resource::Nofile);
    // Refused where a sandbox forbids it, or the hard limit is above `fs.nr_open`; then what there is has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let room = getrlimit(Resource::Nofile).current.unwrap_or(ROOM).min(ROOM);
    if let Ok(last) = i32::try_from(room.saturating_sub(1)) {
        // The table keeps its size when the file is closed.
        drop(fcntl_dupfd_cloexec(std::io::stderr(), last));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_room_and_the_limit_is_raised() {
        make_room();
        let limit = getrlimit(Resource::Nofile);
        let most: u64 = std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().parse().unwrap();
        assert!(
            limit.current == limit.maximum || limit.maximum.is_none_or(|maximum| maximum > most),
            "{limit:?}"
        );
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        let size: u64 = size.trim().parse().unwrap();
        assert!(size >= limit.current.unwrap_or(ROOM).min(ROOM), "{size}");
    }
}
