//! Paths that need no session.

use super::return_target::is_plain_path;

/// Excluded paths, matched by segment: `/public` opens `/public` and `/public/…`, never
/// `/publicsecret` or `/public.css`; `/` opens only `/`.
#[derive(Debug, Clone, Default)]
pub struct ExcludedPaths(Vec<String>);

impl ExcludedPaths {
    /// Takes the configured list.
    ///
    /// # Errors
    /// The position in the list and what is wrong: a path starts with `/` and has no `*`, query,
    /// fragment or dot segment.
    pub fn new(paths: &[String]) -> Result<Self, Vec<(usize, String)>> {
        let faults: Vec<_> = paths
            .iter()
            .enumerate()
            .filter_map(|(index, path)| fault(path).map(|message| (index, message)))
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self(paths.iter().map(|path| path.trim_end_matches('/').to_owned()).collect()))
    }

    /// Whether `path`, normalised and without query, needs no session.
    ///
    /// A path that a laxer reader than us would resolve to another one (`/public/..%2fadmin`,
    /// `/public/..;/admin`) is never excluded: the service may be such a reader.
    pub fn contains(&self, path: &str) -> bool {
        let excluded = self.0.iter().any(|excluded| match path.strip_prefix(excluded.as_str()) {
            Some(rest) if excluded.is_empty() => rest == "/",
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        });
        excluded && is_plain_path(path)
    }
}

fn fault(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("`{path}` must start with `/`"));
    }
    if path.contains(['*', '?', '#', '\\'])
        || path.contains("//")
        || path.split('/').any(|s| s == "." || s == "..")
    {
        return Some(format!("`{path}` must be a plain path without `*`, query, `//` or `..`"));
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Result<ExcludedPaths, Vec<(usize, String)>> {
        ExcludedPaths::new(&list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn matches_by_segment() {
        let excluded = paths(&["/public", "/static/", "/"]).unwrap();
        for open in ["/public", "/public/", "/public/a/b", "/static", "/static/x.css", "/"] {
            assert!(excluded.contains(open), "{open}");
        }
        for closed in ["/publicsecret", "/public.css", "/publi", "/a", "/a/public", "", "/Public"] {
            assert!(!excluded.contains(closed), "{closed}");
        }
    }

    #[test]
    fn a_path_that_may_lead_elsewhere_is_never_excluded() {
        let excluded = paths(&["/public", "/"]).unwrap();
        for closed in [
            "/public/../admin",
            "/public/..",
            "/public/./../admin",
            "/public/..%2Fadmin",
            "/public/%2e%2e/admin",
            "/public/%252e%252e/admin",
            "/public/..;/admin",
            "/public/..;a=b/admin",
            "/public/.;/x",
            "/public/..%3B/admin",
            "/public/..%5Cadmin",
            "/public/..\\admin",
            "/public/a%2F..%2F..%2Fadmin",
            "/public//../admin",
            "/public/%00/../admin",
        ] {
            assert!(!excluded.contains(closed), "{closed}");
        }
        for open in
            ["/public/a%2Fb", "/public/a;v=1/b", "/public/...", "/public/..a", "/public//a", "/public/100%25"]
        {
            assert!(excluded.contains(open), "{open}");
        }
    }

    #[test]
    fn names_what_is_wrong() {
        let faults = paths(&["/ok", "nope", "/a/../b", "/a*"]).unwrap_err();
        assert_eq!(faults.iter().map(|f| f.0).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
