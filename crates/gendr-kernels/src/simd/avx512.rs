//! 512-bit vectors: AVX-512 F.

use super::{Kernel, Simd, add_unpaired};
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, and BF16 if it says so; made only by [`run`] and [`run_bf16`].
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>(());

/// Runs a kernel at this level.
///
/// # Safety
/// The machine has AVX-512 F, AVX2, FMA and F16C.
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<false>(()))
}

/// Runs a kernel at this level with instructions for bf16.
///
/// # Safety
/// The machine has AVX-512 F and BF16, AVX2, FMA and F16C.
#[target_feature(enable = "avx512f,avx512bf16,avx2,fma,f16c")]
pub(crate) unsafe fn run_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<true>(()))
}

/// The first `count` lanes.
#[inline(always)]
fn lane_mask(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

/// A 4x4 transposition inside each 128-bit part.
#[inline(always)]
fn transpose_parts(v: [__m512; 4]) -> [__m512; 4] {
    // SAFETY: only reached from methods of the token, which proves AVX-512 F.
    unsafe {
        let ab_low = _mm512_unpacklo_ps(v[0], v[1]);
        let ab_high = _mm512_unpackhi_ps(v[0], v[1]);
        let cd_low = _mm512_unpacklo_ps(v[2], v[3]);
        let cd_high = _mm512_unpackhi_ps(v[2], v[3]);
        [
            _mm512_shuffle_ps::<0x44>(ab_low, cd_low),
            _mm512_shuffle_ps::<0xEE>(ab_low, cd_low),
            _mm512_shuffle_ps::<0x44>(ab_high, cd_high),
            _mm512_shuffle_ps::<0xEE>(ab_high, cd_high),
        ]
    }
}

/// Lanes `from + offset` of the first two vectors, where `HIGH` says so of the last two.
#[inline(always)]
fn merge<const HIGH: __mmask16>(v: [__m512; 4], from: __m512i, offset: i32) -> __m512 {
    // SAFETY: only reached from methods of the token, which proves AVX-512 F.
    unsafe {
        let from = _mm512_add_epi32(from, _mm512_set1_epi32(offset));
        let low = _mm512_permutex2var_ps(v[0], from, v[1]);
        let high = _mm512_permutex2var_ps(v[2], from, v[3]);
        _mm512_mask_blend_ps(HIGH, low, high)
    }
}

// SAFETY of every block below: the token `Avx512` proves that the instructions exist; pointers are as the trait's contract says.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const BF16: bool> Simd for Avx512<BF16> {
    type V = __m512;
    type M = __mmask16;
    const LANES: usize = 16;
    const WIDE_FILE: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: __m512) {
        unsafe { _mm512_stream_ps(to, v) }
    }

    #[inline(always)]
    fn fence(self) {
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    unsafe fn load_quads(self, from: *const f32, row: usize, group: usize) -> [__m512; 4] {
        unsafe {
            let gather = |r: usize| {
                let at = from.add(r * row);
                let v = _mm512_castps128_ps512(_mm_loadu_ps(at));
                let v = _mm512_insertf32x4::<1>(v, _mm_loadu_ps(at.add(group)));
                let v = _mm512_insertf32x4::<2>(v, _mm_loadu_ps(at.add(2 * group)));
                _mm512_insertf32x4::<3>(v, _mm_loadu_ps(at.add(3 * group)))
            };
            transpose_parts([gather(0), gather(1), gather(2), gather(3)])
        }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(lane_mask(count), from) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: __m512, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, lane_mask(count), v) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn less(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }

    #[inline(always)]
    fn select(self, mask: __mmask16, yes: __m512, no: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(mask, no, yes) }
    }

    #[inline(always)]
    fn add_exponent(self, v: __m512, rounded: __m512) -> __m512 {
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(rounded));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), exponent))
        }
    }

    #[inline(always)]
    fn pair_bf16(self, low: __m512, high: __m512) -> __m512 {
        unsafe {
            let nearest = |x| {
                let bits = _mm512_castps_si512(x);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)))
            };
            let low = _mm512_srli_epi32::<16>(nearest(low));
            let high = _mm512_and_si512(nearest(high), _mm512_set1_epi32(0xFFFF_0000_u32 as i32));
            _mm512_castsi512_ps(_mm512_or_si512(low, high))
        }
    }

    #[inline(always)]
    fn unpair_bf16(self, v: __m512) -> [__m512; 2] {
        unsafe {
            let bits = _mm512_castps_si512(v);
            let high = _mm512_and_si512(bits, _mm512_set1_epi32(0xFFFF_0000_u32 as i32));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)), _mm512_castsi512_ps(high)]
        }
    }

    #[inline(always)]
    fn add_products_bf16(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        if BF16 {
            // SAFETY: this token proves BF16 too; a register of 32 bf16 has the bits of one of 16 floats.
            return unsafe {
                let halves = |v| std::mem::transmute::<__m512, __m512bh>(v);
                _mm512_dpbf16_ps(c, halves(a), halves(b))
            };
        }
        add_unpaired(self, a, b, c)
    }

    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(v) }
    }

    #[inline(always)]
    fn deinterleave4(self, v: [__m512; 4]) -> [__m512; 4] {
        unsafe {
            // Every fourth of 32 floats, twice: eight lanes are used of each pair of vectors.
            let fourth = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
            [
                merge::<0xFF00>(v, fourth, 0),
                merge::<0xFF00>(v, fourth, 1),
                merge::<0xFF00>(v, fourth, 2),
                merge::<0xFF00>(v, fourth, 3),
            ]
        }
    }

    #[inline(always)]
    fn interleave4(self, v: [__m512; 4]) -> [__m512; 4] {
        unsafe {
            // Lane 4 t + i takes lane t of vector i, of the first pair where i < 2, else of the second.
            let of_pair = _mm512_setr_epi32(0, 16, 0, 16, 1, 17, 1, 17, 2, 18, 2, 18, 3, 19, 3, 19);
            [
                merge::<0xCCCC>(v, of_pair, 0),
                merge::<0xCCCC>(v, of_pair, 4),
                merge::<0xCCCC>(v, of_pair, 8),
                merge::<0xCCCC>(v, of_pair, 12),
            ]
        }
    }

    #[inline(always)]
    fn interleave2(self, [a, b]: [__m512; 2]) -> [__m512; 2] {
        unsafe {
            let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
            [_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(a, second, b)]
        }
    }

    #[inline(always)]
    fn even(self, a: __m512, b: __m512) -> __m512 {
        unsafe {
            let places = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            _mm512_permutex2var_ps(a, places, b)
        }
    }

    #[inline(always)]
    fn shift_up(self, before: f32, v: __m512) -> __m512 {
        unsafe {
            let before = _mm512_castps_si512(_mm512_set1_ps(before));
            _mm512_castsi512_ps(_mm512_alignr_epi32::<15>(_mm512_castps_si512(v), before))
        }
    }

    #[inline(always)]
    fn shift_in(self, v: __m512, next: f32) -> __m512 {
        unsafe {
            let next = _mm512_castps_si512(_mm512_set1_ps(next));
            _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(next, _mm512_castps_si512(v)))
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
