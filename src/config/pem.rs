//! Certificates and keys as operators name them: by the path of a file, or as the PEM itself.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::source;

/// Whether `source` is the PEM itself.
pub fn is_inline(source: &str) -> bool {
    source.contains("-----BEGIN")
}

/// How messages call `source`, which may be a private key in the open.
pub fn name(source: &str) -> &str {
    if is_inline(source) { "the inline PEM" } else { source }
}

/// What `source` is, or its file holds. Blocks on the file.
///
/// # Errors
/// The file cannot be read, or is too large.
pub fn read(source: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let content = match is_inline(source) {
        true => source.as_bytes().to_vec(),
        false => source::read(Path::new(source))?,
    };
    Ok(Zeroizing::new(content))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_path_or_the_pem_itself() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!((name(pem), name(path)), ("the inline PEM", path));
        assert_eq!(*read(pem).unwrap(), *read(path).unwrap());
        assert_eq!(read("/nonexistent").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_without_end_is_given_up() {
        assert_eq!(read("/dev/zero").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
