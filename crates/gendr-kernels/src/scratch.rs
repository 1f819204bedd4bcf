//! Working memory that is kept between calls, so that a kernel does not touch fresh pages each time.

use rayon::prelude::*;
use std::{cell::RefCell, marker::PhantomData};

/// One cache line; also the widest vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static POOL: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Lends `work` a buffer of `len` floats, aligned to 64 bytes, with whatever an earlier user left in it.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let lines = len.div_ceil(16);
    let mut buffer = POOL.with_borrow_mut(|pool| {
        let fitting = (0..pool.len()).filter(|&i| pool[i].len() >= lines).min_by_key(|&i| pool[i].len());
        // Without one that fits, the largest grows: a pool never holds more buffers than are nested.
        let chosen = fitting.or_else(|| (0..pool.len()).max_by_key(|&i| pool[i].len()));
        chosen.map_or_else(Vec::new, |i| pool.swap_remove(i))
    });
    if buffer.len() < lines {
        buffer.clear();
        buffer.reserve_exact(lines);
        buffer.resize(lines, Line([0.0; 16]));
    }
    // SAFETY: a `Line` is sixteen initialised floats without padding, and `len <= 16 * lines`.
    let floats = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<f32>(), len) };
    let result = work(floats);
    POOL.with_borrow_mut(|pool| pool.push(buffer));
    result
}

/// Frees the working memory that the calling thread keeps.
pub fn release_scratch() {
    POOL.with_borrow_mut(Vec::clear);
}

/// A vector of `len` floats that `fill` writes, all of them: what it is lent holds anything.
///
/// Saves the time to clear memory that a kernel overwrites at once.
pub fn overwritten(len: usize, fill: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut floats = Vec::with_capacity(len);
    if cfg!(debug_assertions) {
        // A float that was not written is found by the tests.
        floats.resize(len, f32::NAN);
    }
    // SAFETY: the capacity is `len`, every bit pattern is a float, and nothing is read before `fill` has written it: it gets
    // the slice to write only.
    #[allow(clippy::uninit_vec)]
    unsafe {
        floats.set_len(len);
    }
    fill(&mut floats);
    floats
}

/// Copies `from` to `to`, shared out over the threads.
///
/// # Panics
///
/// The slices have different lengths.
pub fn copy(from: &[f32], to: &mut [f32]) {
    const PART: usize = 1 << 16;
    assert_eq!(from.len(), to.len(), "floats to copy");
    from.par_chunks(PART).zip(to.par_chunks_mut(PART)).for_each(|(from, to)| to.copy_from_slice(from));
}

/// A slice that several threads write to at once, each to its own part.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a> {
    start: *mut f32,
    len: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is an exclusive borrow; that the parts written at once are disjoint is promised at each access.
unsafe impl Send for SharedMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedMut<'_> {}

impl<'a> SharedMut<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// The floats from `from` on.
    ///
    /// # Safety
    /// No other thread touches them while the slice is in use.
    pub(crate) unsafe fn part(self, from: usize, len: usize) -> &'a mut [f32] {
        assert!(from <= self.len && len <= self.len - from, "part {from}+{len} of {}", self.len);
        // SAFETY: inside the borrowed slice, and exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }

    /// The address of float `at`.
    pub(crate) fn address(self, at: usize) -> *mut f32 {
        assert!(at <= self.len, "address {at} of {}", self.len);
        // SAFETY: inside the borrowed slice or one past its end.
        unsafe { self.start.add(at) }
    }
}
