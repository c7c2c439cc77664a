//! What policies made of one session, kept with it.

use std::any::Any;
use std::sync::Arc;

use super::entry::PolicyId;

/// The memos of one session: one or a few, replaced as a whole. Most sessions have one, so it needs no list.
pub(super) enum Memos {
    One(Memo),
    Some(Box<[Memo]>),
}

#[derive(Clone)]
pub(super) struct Memo {
    pub(super) value: Arc<dyn Any + Send + Sync>,
    pub(super) generation: u64,
    pub(super) policy: PolicyId,
    /// Whether only the store could make it again.
    pub(super) lasting: bool,
}

impl Memos {
    /// More policies than this on one session are judged anew each time the oldest was dropped; old ones are
    /// mostly those of configurations that were replaced.
    pub(super) const MOST: usize = 16;

    /// `old` with `memo` in place of the policy's last one, and without those of other generations.
    pub(super) fn with(old: Option<&Self>, memo: &Memo) -> Self {
        let old = old.map(Self::all).unwrap_or_default().iter();
        let others = old.filter(|old| old.policy != memo.policy && old.generation == memo.generation);
        let mut kept: Vec<Memo> = others.cloned().collect();
        if kept.is_empty() {
            return Self::One(memo.clone());
        }
        if kept.len() >= Self::MOST {
            kept.remove(0);
        }
        kept.push(memo.clone());
        Self::Some(kept.into())
    }

    pub(super) fn find<T: Any + Send + Sync>(&self, policy: PolicyId, generation: u64) -> Option<Arc<T>> {
        let memo = self.all().iter().find(|memo| memo.policy == policy)?;
        if memo.generation != generation {
            return None;
        }
        Arc::clone(&memo.value).downcast().ok()
    }

    /// Those that last, if there are any.
    pub(super) fn lasting(&self) -> Option<Self> {
        let mut kept = self.all().iter().filter(|memo| memo.lasting).cloned();
        let first = kept.next()?;
        let others: Vec<Memo> = kept.collect();
        if others.is_empty() {
            return Some(Self::One(first));
        }
        Some(Self::Some([first].into_iter().chain(others).collect()))
    }

    pub(super) fn can_rest(&self) -> bool {
        self.all().iter().any(|memo| !memo.lasting)
    }

    pub(super) fn all(&self) -> &[Memo] {
        match self {
            Self::One(memo) => std::slice::from_ref(memo),
            Self::Some(memos) => memos,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn memo<T: Any + Send + Sync>(policy: PolicyId, generation: u64, value: T) -> Memo {
        Memo { policy, generation, lasting: false, value: Arc::new(value) }
    }

    #[test]
    fn one_takes_no_more_than_itself() {
        assert_eq!(size_of::<Memos>(), size_of::<Memo>());
        assert_eq!(size_of::<Memo>(), 32);
    }

    #[test]
    fn memos_belong_to_policy_generation_and_type() {
        let (a, b) = (PolicyId::next(), PolicyId::next());
        let one = Memos::with(None, &memo(a, 3, 1_u8));
        let two = Memos::with(Some(&one), &memo(b, 3, 2_u8));
        assert_eq!(two.find::<u8>(a, 3).as_deref(), Some(&1));
        assert_eq!(two.find::<u8>(b, 3).as_deref(), Some(&2));
        assert!(two.find::<u8>(a, 4).is_none());
        assert!(two.find::<u16>(a, 3).is_none());
        let again = Memos::with(Some(&two), &memo(a, 3, 3_u8));
        assert_eq!((again.all().len(), again.find::<u8>(a, 3).as_deref()), (2, Some(&3)));
        let next = Memos::with(Some(&again), &memo(b, 4, 4_u8));
        assert!(matches!(next, Memos::One(_)) && next.find::<u8>(b, 4).is_some());
    }

    #[test]
    fn there_are_never_many() {
        let mut memos = Memos::with(None, &memo(PolicyId::next(), 0, 0_u8));
        let last = PolicyId::next();
        for policy in (0..100).map(|_| PolicyId::next()).chain([last]) {
            memos = Memos::with(Some(&memos), &memo(policy, 0, 1_u8));
        }
        assert_eq!(memos.all().len(), Memos::MOST);
        assert!(memos.find::<u8>(last, 0).is_some());
    }

    #[test]
    fn those_that_last_stay() {
        let (a, b, c) = (PolicyId::next(), PolicyId::next(), PolicyId::next());
        let one = Memos::with(None, &memo(a, 0, 1_u8));
        assert!(one.can_rest() && one.lasting().is_none());
        let two = Memos::with(Some(&one), &Memo { lasting: true, ..memo(b, 0, 2_u8) });
        let three = Memos::with(Some(&two), &Memo { lasting: true, ..memo(c, 0, 3_u8) });
        for (memos, left) in [(two, 1), (three, 2)] {
            let rest = memos.lasting().unwrap();
            assert!(!rest.can_rest() && rest.find::<u8>(a, 0).is_none());
            assert_eq!((rest.all().len(), rest.find::<u8>(b, 0).as_deref()), (left, Some(&2)));
        }
    }
}
