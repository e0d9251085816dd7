//! A cap on what several holders keep together, such as the unsent responses of all connections of a worker.
//!
//! Whoever keeps something takes a `Charge` and drops it with what it keeps, so that nothing is ever given back twice or
//! forgotten. Invariant: `taken` is the sum of all charges that are alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    taken: AtomicU64,
}

/// A part of a budget that is in use.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self { limit_bytes, taken: AtomicU64::new(0) })
    }

    /// Whether this much could be taken now.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.taken.load(Ordering::Relaxed).saturating_add(bytes) <= self.limit_bytes
    }

    /// Takes this much, if there is room for all of it.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let mut charge = Charge { budget: Arc::clone(self), bytes: 0 };
        charge.grow(bytes).then_some(charge)
    }

    /// Takes this much even if there is no room, for what can neither wait nor go elsewhere.
    pub fn take_anyway(self: &Arc<Self>, bytes: u64) -> Charge {
        let mut charge = Charge { budget: Arc::clone(self), bytes: 0 };
        charge.grow_anyway(bytes);
        charge
    }

    #[cfg(test)]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Charge {
    /// Takes more, if there is room for it.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let limit = self.budget.limit_bytes;
        let more = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= limit);
        let grown = self.budget.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    pub fn grow_anyway(&mut self, bytes: u64) {
        self.budget.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Gives a part back.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.budget.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }

    /// Takes another charge of the same budget over.
    pub fn absorb(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.budget, &other.budget), "two charges of one budget");
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_what_it_has_and_gets_it_back() {
        let budget = Budget::new(10);
        let mut first = budget.take(6).expect("there is room");
        assert!(budget.take(5).is_none());
        assert!(!first.grow(5) && first.grow(4));
        assert!(!budget.has_room(1));
        first.shrink(7);
        assert_eq!(budget.taken(), 3);
        let second = budget.take(7).expect("there is room");
        first.absorb(second);
        assert_eq!(budget.taken(), 10);
        drop(first);
        assert_eq!(budget.taken(), 0);
        assert!(budget.take(u64::MAX).is_none());
    }

    #[test]
    fn what_can_not_wait_may_exceed_it() {
        let budget = Budget::new(1);
        let own = budget.take_anyway(5);
        assert_eq!(budget.taken(), 5);
        assert!(budget.take(0).is_none(), "nothing more until there is room again");
        drop(own);
        assert!(budget.take(1).is_some());
    }
}
