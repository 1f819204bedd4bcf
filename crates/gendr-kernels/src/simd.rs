//! Vector instructions: which set the machine has, and one trait to write kernels over.
//!
//! A kernel is a value that implements [`Kernel`]; [`Level::run`] calls it compiled for the chosen instruction set.
//! Everything a kernel calls is `#[inline(always)]`, so that it is compiled with that set too.

use std::{cell::Cell, error::Error as StdError, fmt, sync::OnceLock};

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod scalar;

/// The environment variable that forces a level: `scalar`, `avx2`, `avx512` or `neon`.
pub const LEVEL_VARIABLE: &str = "GENDR_SIMD";

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust, whatever the compiler makes of it: the reference.
    Scalar,
    /// 128-bit vectors of 64-bit ARM.
    Neon,
    /// 256-bit vectors with fused multiply-add and half-precision conversion.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

/// `GENDR_SIMD` names something this machine cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelError {
    asked: String,
}

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let have: Vec<_> = Level::available().iter().map(|level| level.name()).collect();
        write!(f, "{LEVEL_VARIABLE}={}: this machine has only {}", self.asked, have.join(", "))
    }
}

impl StdError for LevelError {}

thread_local! {
    static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
}

impl Level {
    const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    /// The levels this machine can run, slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|level| level.is_available()).collect()
    }

    /// Its name in [`LEVEL_VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The level asked for by [`LEVEL_VARIABLE`], or else the best this machine has.
    ///
    /// # Errors
    ///
    /// The variable names an unknown level or one the machine lacks. The kernels cannot report this themselves
    /// and run at the best level then: a program calls this once at its start.
    pub fn from_environment() -> Result<Self, LevelError> {
        match std::env::var(LEVEL_VARIABLE) {
            Ok(asked) => {
                Self::available().into_iter().find(|level| level.name() == asked).ok_or(LevelError { asked })
            }
            Err(_) => Ok(Self::best()),
        }
    }

    /// The level at which kernels called from this thread run.
    pub fn current() -> Self {
        static CHOSEN: OnceLock<Level> = OnceLock::new();
        FORCED.get().unwrap_or_else(|| {
            *CHOSEN.get_or_init(|| Self::from_environment().unwrap_or_else(|_| Self::best()))
        })
    }

    /// Calls `work` with the kernels that it calls (on this thread) forced to this level.
    ///
    /// # Panics
    ///
    /// The machine lacks the level.
    pub fn force<R>(self, work: impl FnOnce() -> R) -> R {
        struct Restore(Option<Level>);
        impl Drop for Restore {
            fn drop(&mut self) {
                FORCED.set(self.0);
            }
        }
        assert!(self.is_available(), "this machine lacks {}", self.name());
        let _restore = Restore(FORCED.replace(Some(self)));
        work()
    }

    fn best() -> Self {
        Self::available().pop().unwrap_or(Self::Scalar)
    }

    fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Self::Avx2.is_available() && is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// Floats in one panel of a packed right-hand matrix, see [`crate::gemm`].
    pub(crate) fn panel(self) -> usize {
        3 * self.lanes()
    }

    /// Floats in one vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Scalar | Self::Neon => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Whether this level has instructions for products of bf16 here.
    pub(crate) fn has_bf16(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512bf16"),
            _ => false,
        }
    }

    /// [`Self::run`] with the machine's instructions for products of bf16, where it has some.
    #[inline]
    pub(crate) fn run_bf16<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level as in `run`, bf16 as just seen.
            Self::Avx512 if self.has_bf16() => unsafe { avx512::run_bf16(kernel) },
            _ => self.run(kernel),
        }
    }

    /// Runs a kernel compiled for this level.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Scalar => kernel.run(scalar::Scalar),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Level` is handed out by `available`, `from_environment`, `current` or `force` only if the
            // machine has it, and a literal one is used with `force` first, which checks.
            Self::Avx2 => unsafe { avx2::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 => unsafe { avx512::run(kernel) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => kernel.run(neon::Neon),
            #[allow(unreachable_patterns)]
            _ => kernel.run(scalar::Scalar),
        }
    }
}

/// Added to a number below 2^22 it leaves the nearest whole number in the last bits.
pub(crate) const ROUNDING: f32 = 12_582_912.0;

/// A piece of arithmetic written once for every level.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;

    /// Does the work; implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// The vector operations of one level. A value of the type proves that the machine has the level.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`Self::LANES`] floats.
    type V: Copy;
    /// A comparison's result, one truth value a lane.
    type M: Copy;
    /// Floats in a vector: 4, 8 or 16.
    const LANES: usize;
    /// Whether 24 accumulators and their operands fit into the registers (else 12 do).
    const WIDE_FILE: bool;

    /// All lanes equal.
    fn splat(self, x: f32) -> Self::V;
    /// Reads a vector.
    ///
    /// # Safety
    /// `LANES` floats are readable at `from`; no alignment is needed.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Writes a vector.
    ///
    /// # Safety
    /// `LANES` floats are writable at `to`; no alignment is needed.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// Writes a vector that will not be read soon past the caches, where the level can; [`Self::fence`] must follow.
    ///
    /// # Safety
    /// As [`Self::store`], and `to` is aligned to a vector.
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { self.store(to, v) }
    }
    /// Makes what [`Self::stream`] wrote visible to other threads before anything written after.
    #[inline(always)]
    fn fence(self) {}
    /// Reads four floats from each of `LANES` places and turns them round: lane `4 * g + r` of vector `t` is the float at
    /// `g * group + r * row + t`.
    ///
    /// # Safety
    /// Those floats are readable.
    #[inline(always)]
    unsafe fn load_quads(self, from: *const f32, row: usize, _group: usize) -> [Self::V; 4] {
        const { assert!(Self::LANES == 4, "wider vectors hold several groups") }
        // SAFETY: the caller's promise.
        unsafe {
            self.deinterleave4([
                self.load(from),
                self.load(from.add(row)),
                self.load(from.add(2 * row)),
                self.load(from.add(3 * row)),
            ])
        }
    }
    /// Reads the first `count` lanes, the others become zero.
    ///
    /// # Safety
    /// `count` floats are readable at `from`, `count <= LANES`.
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::V;
    /// Writes the first `count` lanes.
    ///
    /// # Safety
    /// `count` floats are writable at `to`, `count <= LANES`.
    unsafe fn store_first(self, to: *mut f32, v: Self::V, count: usize);

    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// The greater of each pair.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of each pair.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, fused where the level can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`, fused where the level can.
    fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a < b`.
    fn less(self, a: Self::V, b: Self::V) -> Self::M;
    /// `yes` where the mask holds, else `no`.
    fn select(self, mask: Self::M, yes: Self::V, no: Self::V) -> Self::V;
    /// `v` times 2^n, where `rounded` is [`ROUNDING`] plus the whole number n and the product neither too large nor too small for
    /// a normal float.
    fn add_exponent(self, v: Self::V, rounded: Self::V) -> Self::V;
    /// Both rounded to the nearest bf16, `low` in the lower half of each lane. A number that is none stays one if its upper half
    /// says so, as those that arithmetic makes do.
    fn pair_bf16(self, low: Self::V, high: Self::V) -> Self::V;
    /// The lower and the upper bf16 of each lane.
    fn unpair_bf16(self, v: Self::V) -> [Self::V; 2];
    /// `c` plus the two products of each lane's pairs of bf16.
    #[inline(always)]
    fn add_products_bf16(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        add_unpaired(self, a, b, c)
    }
    /// The sum of the lanes.
    fn sum(self, v: Self::V) -> f32;

    /// Takes `4 * LANES` consecutive floats apart by their index modulo 4.
    fn deinterleave4(self, v: [Self::V; 4]) -> [Self::V; 4];
    /// The inverse of [`Self::deinterleave4`].
    fn interleave4(self, v: [Self::V; 4]) -> [Self::V; 4];
    /// Lanes of the two by turns, the first of the first one first.
    fn interleave2(self, v: [Self::V; 2]) -> [Self::V; 2];
    /// Every other lane of `a`, then of `b`, the first of each being the first.
    fn even(self, a: Self::V, b: Self::V) -> Self::V;
    /// Moves every lane up by one; the first becomes `before`.
    fn shift_up(self, before: f32, v: Self::V) -> Self::V;
    /// Moves every lane down by one; the last becomes `next`.
    fn shift_in(self, v: Self::V, next: f32) -> Self::V;
    /// Transposes a block of `LANES` rows of `LANES` floats.
    ///
    /// # Safety
    /// `LANES` rows of `LANES` floats are readable at `from` and writable at `to`, `from_stride` and `to_stride` floats apart.
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for column in (0..Self::LANES).step_by(4) {
            // SAFETY: the caller's promise.
            unsafe {
                let columns = self.load_quads(from.add(column), from_stride, 4 * from_stride);
                for (i, v) in columns.into_iter().enumerate() {
                    self.store(to.add((column + i) * to_stride), v);
                }
            }
        }
    }

    /// The product of four rows and `N` vectors of columns: the left float of a row and a step of the depth lies
    /// `row * strides[0] + step * strides[1]` floats after `left`, the vectors of a step follow those of the step before. On the way
    /// it asks for the left floats from `next` on, which may be any address.
    ///
    /// # Safety
    /// All those floats are readable.
    #[inline(always)]
    unsafe fn multiply_quad<const N: usize>(
        self,
        depth: usize,
        left: *const f32,
        strides: [usize; 2],
        next: *const f32,
        right: *const f32,
    ) -> [[Self::V; N]; 4] {
        let mut sums = [[self.zero(); N]; 4];
        for step in 0..depth {
            self.prefetch(next.wrapping_add(step * strides[1]));
            // SAFETY: the caller's promise.
            let b: [Self::V; N] =
                std::array::from_fn(|n| unsafe { self.load(right.add((N * step + n) * Self::LANES)) });
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let a = self.splat(unsafe { *left.add(r * strides[0] + step * strides[1]) });
                sums.iter_mut().zip(b).for_each(|(sum, b)| *sum = self.mul_add(a, b, *sum));
            }
        }
        sums
    }

    /// Asks for the cache line at `at`, which may be any address.
    #[inline(always)]
    fn prefetch(self, _at: *const f32) {}

    /// All lanes zero.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }
}

/// [`Simd::add_products_bf16`] without instructions of its own.
#[inline(always)]
pub(crate) fn add_unpaired<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
    let ([a_low, a_high], [b_low, b_high]) = (s.unpair_bf16(a), s.unpair_bf16(b));
    s.mul_add(a_high, b_high, s.mul_add(a_low, b_low, c))
}

/// Calls `f` for the start and the number of floats of each vector of a slice.
#[inline(always)]
pub(crate) fn each_vector<S: Simd>(len: usize, mut f: impl FnMut(usize, usize)) {
    for at in (0..len).step_by(S::LANES) {
        f(at, (len - at).min(S::LANES));
    }
}

/// # Safety
/// `count <= LANES` floats are readable at `from`.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(s: S, from: *const f32, count: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if count == S::LANES { s.load(from) } else { s.load_first(from, count) } }
}

/// # Safety
/// `count <= LANES` floats are writable at `to`.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(s: S, to: *mut f32, v: S::V, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { if count == S::LANES { s.store(to, v) } else { s.store_first(to, v, count) } }
}

/// Floats from which on a result is too large for any cache: it is written past them.
pub(crate) const UNCACHED: usize = 8 << 20;

/// [`store`], past the caches if `uncached` and the place allows; [`Simd::fence`] must follow.
///
/// # Safety
/// As [`store`].
#[inline(always)]
pub(crate) unsafe fn store_large<S: Simd>(s: S, to: *mut f32, v: S::V, count: usize, uncached: bool) {
    // SAFETY: the caller's promise; the alignment was just seen.
    unsafe {
        if uncached && count == S::LANES && to.addr().is_multiple_of(4 * S::LANES) {
            s.stream(to, v);
        } else {
            store(s, to, v, count);
        }
    }
}

/// Copies `len` floats.
///
/// # Safety
/// They are readable at `from`, writable at `to`, and the two do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy<S: Simd>(s: S, from: *const f32, to: *mut f32, len: usize) {
    let mut at = 0;
    // SAFETY: `at + LANES <= len` in the loop, the rest is masked.
    unsafe {
        while at + S::LANES <= len {
            s.store(to.add(at), s.load(from.add(at)));
            at += S::LANES;
        }
        if at < len {
            s.store_first(to.add(at), s.load_first(from.add(at), len - at), len - at);
        }
    }
}

/// Writes the columns of `from`, `rows` and `columns` (in `size`) of rows `stride` floats apart, as rows `to_stride` floats apart.
///
/// # Safety
/// `to` is writable there and does not overlap `from`.
#[inline(always)]
pub(crate) unsafe fn turn_round<S: Simd>(
    s: S,
    from: &[f32],
    stride: usize,
    [rows, columns]: [usize; 2],
    to: *mut f32,
    to_stride: usize,
) {
    let [whole_rows, whole_columns] = [rows, columns].map(|len| len / S::LANES * S::LANES);
    assert!(columns <= stride && from.len() >= rows * stride);
    // SAFETY: whole blocks inside `from`, as just seen, and by the caller's promise inside `to`.
    unsafe {
        for column in (0..whole_columns).step_by(S::LANES) {
            for row in (0..whole_rows).step_by(S::LANES) {
                let block = from.as_ptr().add(row * stride + column);
                s.transpose(block, stride, to.add(column * to_stride + row), to_stride);
            }
        }
        for column in 0..columns {
            for row in if column < whole_columns { whole_rows } else { 0 }..rows {
                *to.add(column * to_stride + row) = from[row * stride + column];
            }
        }
    }
}

/// Writes `len` zeros.
///
/// # Safety
/// `len` floats are writable at `to`.
#[inline(always)]
pub(crate) unsafe fn clear<S: Simd>(s: S, to: *mut f32, len: usize) {
    let mut at = 0;
    // SAFETY: `at + LANES <= len` in the loop, the rest is masked.
    unsafe {
        while at + S::LANES <= len {
            s.store(to.add(at), s.zero());
            at += S::LANES;
        }
        if at < len {
            s.store_first(to.add(at), s.zero(), len - at);
        }
    }
}
