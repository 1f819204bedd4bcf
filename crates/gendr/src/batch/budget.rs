//! Something there is only so much of: bytes, or turns.

use std::sync::{Condvar, Mutex, PoisonError};

/// An amount that threads take shares of and give back.
#[derive(Debug)]
pub(super) struct Budget {
    capacity: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// A share, given back when dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    budget: &'a Budget,
    amount: u64,
}

impl Budget {
    pub(super) fn new(capacity: u64) -> Self {
        Self { capacity, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until there is that much left. More than there is in all is given to one alone, when all else is given back.
    pub(super) fn take(&self, amount: u64) -> Share<'_> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |used: &mut u64| *used > 0 && used.saturating_add(amount) > self.capacity;
        let mut used = self.freed.wait_while(used, full).unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_add(amount);
        Share { budget: self, amount }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(self.amount);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn no_more_than_the_capacity_is_out_unless_one_alone_needs_it() {
        let (budget, out, most) = (Budget::new(10), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for amount in [3, 7, 5, 5, 25, 1, 9, 4] {
                let (budget, out, most) = (&budget, &out, &most);
                scope.spawn(move || {
                    let share = budget.take(amount);
                    let now = out.fetch_add(amount, Ordering::SeqCst) + amount;
                    if amount <= 10 {
                        most.fetch_max(now, Ordering::SeqCst);
                    } else {
                        assert_eq!(now, amount, "alone");
                    }
                    thread::sleep(Duration::from_millis(2));
                    out.fetch_sub(amount, Ordering::SeqCst);
                    drop(share);
                });
            }
        });
        assert!(most.into_inner() <= 10);
    }
}
