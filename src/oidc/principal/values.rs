//! The values of a user's headers in one piece of memory: there are as many of these as sessions in use.

use bytes::Bytes;
use http::HeaderValue;

use crate::net::Text;

/// Some texts, each of which may be missing.
///
/// First where each begins and the last ends, four bytes each (little endian), then the texts one after the other. A
/// header's value is made of it when it is sent, which allocates nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(Bytes);

/// Marks where a text that is missing would end.
const MISSING: u32 = 1 << 31;

impl Values {
    pub(super) fn of(texts: &[Option<&[u8]>]) -> Self {
        let bounds = (texts.len() + 1) * 4;
        let length = bounds + texts.iter().flatten().map(|text| text.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(length);
        let mut end = bounds;
        bytes.extend_from_slice(&bound(end).to_le_bytes());
        for text in texts {
            end += text.map_or(0, <[u8]>::len);
            let missing = if text.is_none() { MISSING } else { 0 };
            bytes.extend_from_slice(&(bound(end) | missing).to_le_bytes());
        }
        texts.iter().flatten().for_each(|text| bytes.extend_from_slice(text));
        Self(bytes.into())
    }

    /// How many texts there are, with those that are missing.
    pub(super) fn count(&self) -> usize {
        // Where the first begins the bounds end, of which there is one more.
        self.bound(0).map_or(0, |(bounds, _)| (bounds / 4).saturating_sub(1))
    }

    pub(super) fn bytes(&self, place: usize) -> Option<Bytes> {
        let (start, _) = self.bound(place)?;
        let (end, missing) = self.bound(place + 1).filter(|_| place < self.count())?;
        (!missing && start <= end && end <= self.0.len()).then(|| self.0.slice(start..end))
    }

    /// As a header's value.
    pub(super) fn header(&self, place: usize) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.bytes(place)?).ok()
    }

    pub(super) fn text(&self, place: usize) -> Option<Text> {
        self.bytes(place).map(Text::of)
    }

    /// How many bytes all of it takes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn bound(&self, at: usize) -> Option<(usize, bool)> {
        let bound = u32::from_le_bytes(*self.0.get(at * 4..)?.first_chunk()?);
        Some((usize::try_from(bound & !MISSING).ok()?, bound & MISSING != 0))
    }
}

/// What a provider says is bounded far below that.
fn bound(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(MISSING).min(MISSING - 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_text_comes_back_and_none_is_copied() {
        let texts: [Option<&[u8]>; 4] = [Some(b"alice"), None, Some(b""), Some("b\u{e9}a".as_bytes())];
        let values = Values::of(&texts);
        for (place, text) in texts.iter().enumerate() {
            assert_eq!(values.bytes(place).as_deref(), *text);
        }
        assert_eq!(values.header(0).unwrap(), "alice");
        assert_eq!(values.header(1), None);
        assert_eq!(values.header(2).unwrap(), "");
        assert_eq!(values.text(3).as_deref(), Some("b\u{e9}a"));
        assert_eq!((values.len(), values.count()), (5 * 4 + 9, 4));
        let address = |place: usize| values.bytes(place).unwrap().as_ptr().addr();
        assert_eq!(address(3), address(0) + 5);
    }

    #[test]
    fn beyond_the_last_there_is_nothing() {
        let values = Values::of(&[Some(b"\x01\x00\x00\x00\x02\x00\x00\x00")]);
        assert_eq!(values.bytes(0).unwrap().len(), 8);
        for place in 1..10 {
            assert_eq!(values.bytes(place), None, "{place}");
        }
        assert_eq!((Values::default().bytes(0), Values::default().count()), (None, 0));
    }
}
