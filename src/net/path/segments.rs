//! Dot segments and repeated slashes.

use std::borrow::Cow;

/// Removes `.`, `..` and empty segments from a rooted path, as Go's `path.Clean` does, and keeps one trailing
/// slash where there was one. So `/a/b/..` becomes `/a` (RFC 3986 would say `/a/`) and `/..` becomes `/`.
///
/// Works on the escaped form: `%2F` separates nothing. A path that is already clean is borrowed.
pub fn clean(path: &str) -> Cow<'_, str> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if out.is_empty() || path.ends_with('/') {
        out.push('/');
    }
    Cow::Owned(out)
}

fn is_clean(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    // Cheap test first: a segment that needs work starts with `.` or is empty.
    let suspicious = memchr::memmem::find(path.as_bytes(), b"//").is_some()
        || memchr::memmem::find(path.as_bytes(), b"/.").is_some();
    if !suspicious {
        return true;
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    path == "/" || rest.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}
