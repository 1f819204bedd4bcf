//! A memory allocator that keeps large blocks for the next tensor.
//!
//! A network makes and drops tensors of a few sizes over and over. The system's allocator gives each of them fresh pages and
//! takes them back: every page is cleared and mapped again for each layer, which costs as much time as many layers do.
//! Here freed blocks wait for a tensor of about their size, and on Linux new ones ask for huge pages.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Blocks from this size on are kept.
const LARGE: usize = 1 << 20;
/// Sizes are rounded up to this; also their alignment: a huge page.
const PAGE: usize = 2 << 20;
/// Blocks that wait at once, at most.
const MOST_BLOCKS: usize = 256;
/// Bytes that wait at once, at most.
const MOST_BYTES: usize = 2 << 30;

/// The allocator; a program installs it with `#[global_allocator]`.
#[derive(Debug, Default)]
pub struct LargeBlockAllocator {
    waiting: Mutex<Waiting>,
}

/// Freed blocks, the longest waiting first.
#[derive(Debug)]
struct Waiting {
    blocks: [Block; MOST_BLOCKS],
    count: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    address: usize,
    size: usize,
}

impl LargeBlockAllocator {
    /// One that keeps nothing yet.
    pub const fn new() -> Self {
        let blocks = [Block { address: 0, size: 0 }; MOST_BLOCKS];
        Self { waiting: Mutex::new(Waiting { blocks, count: 0, bytes: 0 }) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is locked; and an allocator must not panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives all waiting blocks back to the system.
    pub fn release(&self) {
        while let Some(block) = { self.waiting().take_oldest() } {
            free(block);
        }
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self { blocks: [Block { address: 0, size: 0 }; MOST_BLOCKS], count: 0, bytes: 0 }
    }
}

impl Waiting {
    fn take(&mut self, size: usize) -> Option<Block> {
        let place = self.blocks[..self.count].iter().rposition(|block| block.size == size)?;
        Some(self.remove(place))
    }

    fn take_oldest(&mut self) -> Option<Block> {
        (self.count > 0).then(|| self.remove(0))
    }

    fn remove(&mut self, place: usize) -> Block {
        let block = self.blocks[place];
        self.blocks.copy_within(place + 1..self.count, place);
        self.count -= 1;
        self.bytes -= block.size;
        block
    }

    /// Keeps a block; false where there is no room until an older one goes.
    fn keep(&mut self, block: Block) -> bool {
        if self.count == MOST_BLOCKS || self.bytes + block.size > MOST_BYTES {
            return false;
        }
        self.blocks[self.count] = block;
        self.count += 1;
        self.bytes += block.size;
        true
    }
}

/// Whether a request goes through the waiting blocks.
fn is_large(layout: &Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

/// The size of the block for a large request: one of eight between two powers of two.
fn block_size(size: usize) -> usize {
    let step = ((size.next_power_of_two() >> 4).max(PAGE)) - 1;
    size.saturating_add(step) & !step
}

fn block_layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size, PAGE).ok()
}

/// A block from the system; null where it has none.
fn fresh(size: usize, zeroed: bool) -> *mut u8 {
    let Some(layout) = block_layout(size) else { return ptr::null_mut() };
    // SAFETY: the size is not zero.
    let block = unsafe { if zeroed { System.alloc_zeroed(layout) } else { System.alloc(layout) } };
    if !block.is_null() {
        ask_for_huge_pages(block, size);
    }
    block
}

fn free(block: Block) {
    if let Some(layout) = block_layout(block.size) {
        // SAFETY: it came from `fresh` with this size, and nobody else has it any more.
        unsafe { System.dealloc(block.address as *mut u8, layout) };
    }
}

#[cfg(target_os = "linux")]
fn ask_for_huge_pages(block: *mut u8, size: usize) {
    // SAFETY: the pages belong to the block, and the advice changes nothing that can be seen. It is no matter if it is refused.
    unsafe { libc::madvise(block.cast(), size, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_: *mut u8, _: usize) {}

impl LargeBlockAllocator {
    /// A waiting block, or a new one for which as many bytes of waiting ones go: waiting blocks never make the program larger
    /// than its live ones once did.
    fn large(&self, size: usize, zeroed: bool) -> *mut u8 {
        let (size, mut gone) = (block_size(size), 0);
        if let Some(block) = { self.waiting().take(size) } {
            let block = block.address as *mut u8;
            if zeroed {
                // SAFETY: it holds as many bytes.
                unsafe { block.write_bytes(0, size) };
            }
            return block;
        }
        while gone < size {
            let Some(block) = ({ self.waiting().take_oldest() }) else { break };
            gone += block.size;
            free(block);
        }
        fresh(size, zeroed)
    }

    fn give_back(&self, address: *mut u8, size: usize) {
        let block = Block { address: address as usize, size: block_size(size) };
        if block.size > MOST_BYTES {
            return free(block);
        }
        while !{ self.waiting().keep(block) } {
            if let Some(oldest) = { self.waiting().take_oldest() } {
                free(oldest);
            }
        }
    }
}

// SAFETY: small requests are the system allocator's; a large block is the system's too, at least as large and as aligned as
// asked for, and is in one place only: with the one who asked, or waiting. The request's size alone tells which of the two a
// block is, and how large.
unsafe impl GlobalAlloc for LargeBlockAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            return self.large(layout.size(), false);
        }
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            return self.large(layout.size(), true);
        }
        // SAFETY: promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        if is_large(&layout) {
            return self.give_back(address, layout.size());
        }
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(address, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_by_an_eighth_at_most() {
        for size in [LARGE, PAGE - 1, PAGE, PAGE + 1, 100 << 20, (128 << 20) + 1, 3 << 30] {
            let block = block_size(size);
            assert!(block >= size && block.is_multiple_of(PAGE) && block_size(block) == block);
            assert!(block - size <= (size / 8).max(PAGE), "{size} {block}");
        }
    }

    #[test]
    fn blocks_come_back_cleared_if_asked_and_never_twice() {
        let allocator = LargeBlockAllocator::new();
        let layout = Layout::from_size_align((5 << 20) + 3, 64).unwrap();
        // SAFETY: the layouts are those of the requests, and no block is used after it is given back.
        unsafe {
            let first = allocator.alloc(layout);
            first.write_bytes(7, layout.size());
            allocator.dealloc(first, layout);
            let second = allocator.alloc_zeroed(layout);
            assert_eq!(second, first, "the waiting block");
            assert!((0..layout.size()).all(|at| *second.add(at) == 0));
            let third = allocator.alloc(layout);
            assert_ne!(third, second);
            let grown = Layout::from_size_align(layout.size() * 3, 64).unwrap();
            third.write_bytes(9, layout.size());
            let third = allocator.realloc(third, layout, grown.size());
            assert!((0..layout.size()).all(|at| *third.add(at) == 9), "kept while growing");
            allocator.dealloc(third, grown);
            allocator.dealloc(second, layout);
            let small = Layout::from_size_align(100, 8).unwrap();
            let fourth = allocator.alloc(small);
            allocator.dealloc(fourth, small);
        }
        allocator.release();
        assert_eq!(allocator.waiting().bytes, 0);
    }

    #[test]
    fn what_waits_is_limited() {
        let allocator = LargeBlockAllocator::new();
        let layouts: Vec<_> = (1..80).map(|i| Layout::from_size_align(i << 20, 16).unwrap()).collect();
        // SAFETY: as above; the memory is not touched.
        let blocks: Vec<_> = layouts.iter().map(|&layout| unsafe { allocator.alloc(layout) }).collect();
        for (block, layout) in blocks.into_iter().zip(layouts) {
            // SAFETY: as above.
            unsafe { allocator.dealloc(block, layout) };
            let waiting = allocator.waiting();
            let bytes: usize = waiting.blocks[..waiting.count].iter().map(|block| block.size).sum();
            assert!(waiting.count <= MOST_BLOCKS && waiting.bytes <= MOST_BYTES && bytes == waiting.bytes);
        }
        allocator.release();
    }
}
