//! 256-bit vectors: AVX2, FMA and F16C.

use super::{Kernel, Simd};
use std::arch::{asm, x86_64::*};

/// Proof that the machine has AVX2, FMA and F16C; made only by [`run`].
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Runs a kernel at this level.
///
/// # Safety
/// The machine has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// The first `count` lanes all ones.
#[inline(always)]
fn lane_mask(count: usize) -> __m256i {
    const WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: `count <= 8`, so that the eight words read lie inside the window; the token proves AVX2.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(8 - count.min(8)).cast()) }
}

/// A 4x4 transposition inside each 128-bit half.
#[inline(always)]
fn transpose_parts([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
    // SAFETY: only reached from methods of the token, which proves AVX.
    unsafe {
        let ab_low = _mm256_unpacklo_ps(a, b);
        let ab_high = _mm256_unpackhi_ps(a, b);
        let cd_low = _mm256_unpacklo_ps(c, d);
        let cd_high = _mm256_unpackhi_ps(c, d);
        [
            _mm256_shuffle_ps::<0x44>(ab_low, cd_low),
            _mm256_shuffle_ps::<0xEE>(ab_low, cd_low),
            _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
            _mm256_shuffle_ps::<0xEE>(ab_high, cd_high),
        ]
    }
}

// SAFETY of every block below: the token `Avx2` proves that the instructions exist; pointers are as the trait's contract says.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx2 {
    type V = __m256;
    type M = __m256;
    const LANES: usize = 8;
    const WIDE_FILE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: __m256) {
        unsafe { _mm256_stream_ps(to, v) }
    }

    #[inline(always)]
    fn fence(self) {
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    unsafe fn load_quads(self, from: *const f32, row: usize, group: usize) -> [__m256; 4] {
        unsafe {
            let pair = |r: usize| {
                let at = from.add(r * row);
                let low = _mm256_castps128_ps256(_mm_loadu_ps(at));
                _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(at.add(group)))
            };
            transpose_parts([pair(0), pair(1), pair(2), pair(3)])
        }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(from, lane_mask(count)) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: __m256, count: usize) {
        // Masked stores take dozens of cycles on AMD's processors.
        unsafe {
            if count >= Self::LANES {
                return _mm256_storeu_ps(to, v);
            }
            let (mut rest, mut to) = (_mm256_castps256_ps128(v), to);
            if count & 4 != 0 {
                _mm_storeu_ps(to, rest);
                (rest, to) = (_mm256_extractf128_ps::<1>(v), to.add(4));
            }
            if count & 2 != 0 {
                _mm_storel_pd(to.cast(), _mm_castps_pd(rest));
                (rest, to) = (_mm_movehl_ps(rest, rest), to.add(2));
            }
            if count & 1 != 0 {
                _mm_store_ss(to, rest);
            }
        }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn less(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
    }

    #[inline(always)]
    fn select(self, mask: __m256, yes: __m256, no: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(no, yes, mask) }
    }

    #[inline(always)]
    fn add_exponent(self, v: __m256, rounded: __m256) -> __m256 {
        unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(rounded));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), exponent))
        }
    }

    #[inline(always)]
    fn pair_bf16(self, low: __m256, high: __m256) -> __m256 {
        unsafe {
            let nearest = |x| {
                let bits = _mm256_castps_si256(x);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)))
            };
            let low = _mm256_srli_epi32::<16>(nearest(low));
            _mm256_castsi256_ps(_mm256_blend_epi16::<0xAA>(low, nearest(high)))
        }
    }

    #[inline(always)]
    fn unpair_bf16(self, v: __m256) -> [__m256; 2] {
        unsafe {
            let bits = _mm256_castps_si256(v);
            let high = _mm256_and_si256(bits, _mm256_set1_epi32(0xFFFF_0000_u32 as i32));
            [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits)), _mm256_castsi256_ps(high)]
        }
    }

    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        unsafe {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
        }
    }

    #[inline(always)]
    fn deinterleave4(self, v: [__m256; 4]) -> [__m256; 4] {
        unsafe {
            // Even and odd 128-bit halves apart, then a 4x4 transposition inside each half.
            let a = _mm256_permute2f128_ps::<0x20>(v[0], v[2]);
            let b = _mm256_permute2f128_ps::<0x31>(v[0], v[2]);
            let c = _mm256_permute2f128_ps::<0x20>(v[1], v[3]);
            let d = _mm256_permute2f128_ps::<0x31>(v[1], v[3]);
            // Lanes of a, b, c, d are 16-byte groups (0, 4), (1, 5), (2, 6), (3, 7).
            transpose_parts([a, b, c, d])
        }
    }

    #[inline(always)]
    fn interleave4(self, v: [__m256; 4]) -> [__m256; 4] {
        unsafe {
            let ab_low = _mm256_unpacklo_ps(v[0], v[1]);
            let ab_high = _mm256_unpackhi_ps(v[0], v[1]);
            let cd_low = _mm256_unpacklo_ps(v[2], v[3]);
            let cd_high = _mm256_unpackhi_ps(v[2], v[3]);
            let a = _mm256_shuffle_ps::<0x44>(ab_low, cd_low);
            let b = _mm256_shuffle_ps::<0xEE>(ab_low, cd_low);
            let c = _mm256_shuffle_ps::<0x44>(ab_high, cd_high);
            let d = _mm256_shuffle_ps::<0xEE>(ab_high, cd_high);
            [
                _mm256_permute2f128_ps::<0x20>(a, b),
                _mm256_permute2f128_ps::<0x20>(c, d),
                _mm256_permute2f128_ps::<0x31>(a, b),
                _mm256_permute2f128_ps::<0x31>(c, d),
            ]
        }
    }

    #[inline(always)]
    fn interleave2(self, [a, b]: [__m256; 2]) -> [__m256; 2] {
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
        }
    }

    #[inline(always)]
    fn even(self, a: __m256, b: __m256) -> __m256 {
        unsafe {
            // Four lanes of each half at a time, then the halves' order.
            let v = _mm256_shuffle_ps::<0x88>(a, b);
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0xD8>(_mm256_castps_pd(v)))
        }
    }

    #[inline(always)]
    fn shift_up(self, before: f32, v: __m256) -> __m256 {
        unsafe {
            let up = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6));
            _mm256_blend_ps::<0x01>(up, _mm256_set1_ps(before))
        }
    }

    #[inline(always)]
    fn shift_in(self, v: __m256, next: f32) -> __m256 {
        unsafe {
            let down = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0));
            _mm256_blend_ps::<0x80>(down, _mm256_set1_ps(next))
        }
    }

    #[inline(always)]
    unsafe fn multiply_quad<const N: usize>(
        self,
        depth: usize,
        left: *const f32,
        strides: [usize; 2],
        next: *const f32,
        right: *const f32,
    ) -> [[__m256; N]; 4] {
        let mut sums = [[self.zero(); N]; 4];
        let mut take =
            |of: &[__m256]| sums.as_flattened_mut().iter_mut().zip(of).for_each(|(to, &x)| *to = x);
        unsafe {
            match N {
                3 => take(&multiply_quad_by_3(depth, left, strides, next, right)),
                2 => take(&multiply_quad_by_2(depth, left, strides, next, right)),
                _ => unreachable!("tiles are two or three vectors wide"),
            }
        }
        sums
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// One step of the depth: `$at` bytes into the right panel, its vectors' registers and, row by row, those of the sums.
macro_rules! step {
    ($at:expr, $([$vector:literal, $offset:literal]),*; $([$row:literal, $([$sum:literal, $by:literal]),*]),*) => {
        concat!(
            $("vmovups ", $vector, ", [{right} + ", $at, " + ", $offset, "]\n",)*
            $("vbroadcastss ymm15, [{left}", $row, "]\n", $("vfmadd231ps ", $sum, ", ymm15, ", $by, "\n",)*)*
            "add {left}, {step}"
        )
    };
}

macro_rules! step_by_3 {
    ($at:expr) => {
        step!($at, ["ymm12", "0"], ["ymm13", "32"], ["ymm14", "64"];
            ["", ["ymm0", "ymm12"], ["ymm1", "ymm13"], ["ymm2", "ymm14"]],
            [" + {row}", ["ymm3", "ymm12"], ["ymm4", "ymm13"], ["ymm5", "ymm14"]],
            [" + 2 * {row}", ["ymm6", "ymm12"], ["ymm7", "ymm13"], ["ymm8", "ymm14"]],
            [" + {row3}", ["ymm9", "ymm12"], ["ymm10", "ymm13"], ["ymm11", "ymm14"]])
    };
}

macro_rules! step_by_2 {
    ($at:expr) => {
        step!($at, ["ymm12", "0"], ["ymm13", "32"];
            ["", ["ymm0", "ymm12"], ["ymm1", "ymm13"]],
            [" + {row}", ["ymm2", "ymm12"], ["ymm3", "ymm13"]],
            [" + 2 * {row}", ["ymm4", "ymm12"], ["ymm5", "ymm13"]],
            [" + {row3}", ["ymm6", "ymm12"], ["ymm7", "ymm13"]])
    };
}

/// [`Simd::multiply_quad`] for one number of vectors, four steps at a time: a line of cache of a packed left panel. Twelve sums, three
/// vectors and a broadcast float are all sixteen registers: the compiler, left alone, moves sums between them and memory in every
/// step. Sums that fewer vectors do not have stay zero.
macro_rules! multiply_quad {
    ($name:ident, $step:ident, $bytes:literal) => {
        /// # Safety
        /// The machine has AVX2 and FMA; the rest as in [`Simd::multiply_quad`].
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn $name(
            depth: usize,
            left: *const f32,
            [row, step]: [usize; 2],
            next: *const f32,
            right: *const f32,
        ) -> [__m256; 12] {
            let mut sums = [_mm256_setzero_ps(); 12];
            // SAFETY: reads the floats that the caller promises, and changes no memory.
            unsafe {
                asm!(
                    "test {fours}, {fours}",
                    "jz 3f",
                    "2:",
                    "prefetcht0 [{left} + {next}]",
                    $step!("0"),
                    $step!($bytes),
                    $step!(concat!("2 * ", $bytes)),
                    $step!(concat!("3 * ", $bytes)),
                    concat!("add {right}, 4 * ", $bytes),
                    "dec {fours}",
                    "jnz 2b",
                    "3:",
                    "test {rest}, {rest}",
                    "jz 5f",
                    "4:",
                    $step!("0"),
                    concat!("add {right}, ", $bytes),
                    "dec {rest}",
                    "jnz 4b",
                    "5:",
                    left = inout(reg) left => _,
                    right = inout(reg) right => _,
                    fours = inout(reg) depth / 4 => _,
                    rest = inout(reg) depth % 4 => _,
                    row = in(reg) 4 * row,
                    row3 = in(reg) 12 * row,
                    step = in(reg) 4 * step,
                    next = in(reg) next.addr().wrapping_sub(left.addr()),
                    inout("ymm0") sums[0],
                    inout("ymm1") sums[1],
                    inout("ymm2") sums[2],
                    inout("ymm3") sums[3],
                    inout("ymm4") sums[4],
                    inout("ymm5") sums[5],
                    inout("ymm6") sums[6],
                    inout("ymm7") sums[7],
                    inout("ymm8") sums[8],
                    inout("ymm9") sums[9],
                    inout("ymm10") sums[10],
                    inout("ymm11") sums[11],
                    out("ymm12") _,
                    out("ymm13") _,
                    out("ymm14") _,
                    out("ymm15") _,
                    options(pure, readonly, nostack),
                );
            }
            sums
        }
    };
}

multiply_quad!(multiply_quad_by_3, step_by_3, "96");
multiply_quad!(multiply_quad_by_2, step_by_2, "64");
