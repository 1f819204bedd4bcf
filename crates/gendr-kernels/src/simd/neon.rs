//! 128-bit vectors of 64-bit ARM, which every such processor has.

use super::{Simd, scalar::Scalar};
use std::arch::aarch64::*;

/// Every 64-bit ARM machine has this level.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

// SAFETY of every block below: NEON is part of the aarch64 baseline; pointers are as the trait's contract says.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Neon {
    type V = float32x4_t;
    type M = uint32x4_t;
    const LANES: usize = 4;
    const WIDE_FILE: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: float32x4_t) {
        unsafe { vst1q_f32(to, v) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> float32x4_t {
        unsafe { vld1q_f32(Scalar.load_first(from, count).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: float32x4_t, count: usize) {
        let mut lanes = [0.0; 4];
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), v);
            Scalar.store_first(to, lanes, count);
        }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vdivq_f32(a, b) }
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmaxq_f32(a, b) }
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vminq_f32(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmsq_f32(c, a, b) }
    }

    #[inline(always)]
    fn less(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        unsafe { vcltq_f32(a, b) }
    }

    #[inline(always)]
    fn select(self, mask: uint32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(mask, yes, no) }
    }

    #[inline(always)]
    fn add_exponent(self, v: float32x4_t, rounded: float32x4_t) -> float32x4_t {
        unsafe {
            let exponent = vshlq_n_s32::<23>(vreinterpretq_s32_f32(rounded));
            vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v), exponent))
        }
    }

    #[inline(always)]
    fn pair_bf16(self, low: float32x4_t, high: float32x4_t) -> float32x4_t {
        unsafe {
            let nearest = |x| {
                let bits = vreinterpretq_u32_f32(x);
                let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
                vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)))
            };
            vreinterpretq_f32_u32(vsriq_n_u32::<16>(nearest(high), nearest(low)))
        }
    }

    #[inline(always)]
    fn unpair_bf16(self, v: float32x4_t) -> [float32x4_t; 2] {
        unsafe {
            let bits = vreinterpretq_u32_f32(v);
            let high = vandq_u32(bits, vdupq_n_u32(0xFFFF_0000));
            [vreinterpretq_f32_u32(vshlq_n_u32::<16>(bits)), vreinterpretq_f32_u32(high)]
        }
    }

    #[inline(always)]
    fn sum(self, v: float32x4_t) -> f32 {
        unsafe { vaddvq_f32(v) }
    }

    #[inline(always)]
    fn deinterleave4(self, v: [float32x4_t; 4]) -> [float32x4_t; 4] {
        unsafe {
            let ab = vuzpq_f32(v[0], v[1]);
            let cd = vuzpq_f32(v[2], v[3]);
            let even = vuzpq_f32(ab.0, cd.0);
            let odd = vuzpq_f32(ab.1, cd.1);
            [even.0, odd.0, even.1, odd.1]
        }
    }

    #[inline(always)]
    fn interleave4(self, v: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // With four lanes both are the 4x4 transposition.
        self.deinterleave4(v)
    }

    #[inline(always)]
    fn interleave2(self, [a, b]: [float32x4_t; 2]) -> [float32x4_t; 2] {
        unsafe { [vzip1q_f32(a, b), vzip2q_f32(a, b)] }
    }

    #[inline(always)]
    fn even(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vuzp1q_f32(a, b) }
    }

    #[inline(always)]
    fn shift_up(self, before: f32, v: float32x4_t) -> float32x4_t {
        unsafe { vextq_f32::<3>(vdupq_n_f32(before), v) }
    }

    #[inline(always)]
    fn shift_in(self, v: float32x4_t, next: f32) -> float32x4_t {
        unsafe { vextq_f32::<1>(v, vdupq_n_f32(next)) }
    }
}
