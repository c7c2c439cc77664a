//! Doors for the fuzz targets (`fuzz/`) to what is private here. Built with the feature `fuzzing` only.

use super::body::Framing;
pub use super::h2::follow_frames;
use super::head::{Progress, Scanner, judge};
use super::reject::RejectReason;

/// Longest head that [`follow`] accepts.
const MAX_HEAD: usize = 1024;

/// A request of which the head is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http1 {
    /// Where its head begins.
    pub skip: usize,
    /// Where its head ends.
    pub end: usize,
    /// Whether it asks to leave HTTP.
    pub upgrade: bool,
    /// How its body is framed.
    pub body: Body,
    /// Bytes of the body that have come.
    pub taken: usize,
    /// Whether all of it has.
    pub is_complete: bool,
    /// Whether nobody can tell where it ends.
    pub is_broken: bool,
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// This many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// Reads a request that arrives in `pieces`; `None` while its head is incomplete.
///
/// # Errors
/// Why it is refused.
pub fn follow(pieces: &[&[u8]]) -> Result<Option<Http1>, RejectReason> {
    let (mut input, mut scanner, mut found) = (Vec::new(), Scanner::default(), None);
    for piece in pieces {
        input.extend_from_slice(piece);
        if found.is_none()
            && let Progress::Complete { skip, end } = scanner.advance(&input, MAX_HEAD)?
        {
            let head = judge(input.get(skip..end).unwrap_or_default())?;
            found = Some((skip, end, head.upgrade, body_of(&head.framing), head.framing, 0));
        }
        if let Some((_, end, _, _, framing, taken)) = &mut found {
            *taken += framing.take(input.get(*end + *taken..).unwrap_or_default());
        }
    }
    Ok(found.map(|(skip, end, upgrade, body, framing, taken)| {
        let (is_complete, is_broken) = (framing.is_complete(), framing.is_broken());
        Http1 { skip, end, upgrade, body, taken, is_complete, is_broken }
    }))
}

fn body_of(framing: &Framing) -> Body {
    match framing {
        Framing::Length(length) => Body::Length(*length),
        Framing::Chunked(_) => Body::Chunked,
    }
}
