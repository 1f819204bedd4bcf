//! The reference level: four lanes of plain Rust.

use super::Simd;

/// Proof of nothing: every machine has this level.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

type V = [f32; 4];

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Scalar {
    type V = V;
    type M = [bool; 4];
    const LANES: usize = 4;
    const WIDE_FILE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> V {
        // SAFETY: the caller promises four readable floats.
        unsafe { from.cast::<V>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: V) {
        // SAFETY: the caller promises four writable floats.
        unsafe { to.cast::<V>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> V {
        let mut v = [0.0; 4];
        // SAFETY: the caller promises `count <= 4` readable floats.
        unsafe { from.copy_to_nonoverlapping(v.as_mut_ptr(), count) };
        v
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: V, count: usize) {
        // SAFETY: the caller promises `count <= 4` writable floats.
        unsafe { to.copy_from_nonoverlapping(v.as_ptr(), count) };
    }

    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn mul_add(self, a: V, b: V, c: V) -> V {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn neg_mul_add(self, a: V, b: V, c: V) -> V {
        self.sub(c, self.mul(a, b))
    }

    #[inline(always)]
    fn less(self, a: V, b: V) -> [bool; 4] {
        [a[0] < b[0], a[1] < b[1], a[2] < b[2], a[3] < b[3]]
    }

    #[inline(always)]
    fn select(self, mask: [bool; 4], yes: V, no: V) -> V {
        let pick = |i: usize| if mask[i] { yes[i] } else { no[i] };
        [pick(0), pick(1), pick(2), pick(3)]
    }

    #[inline(always)]
    fn add_exponent(self, v: V, rounded: V) -> V {
        std::array::from_fn(|i| f32::from_bits(v[i].to_bits().wrapping_add(rounded[i].to_bits() << 23)))
    }

    #[inline(always)]
    fn pair_bf16(self, low: V, high: V) -> V {
        let nearest = |x: f32| {
            let bits = x.to_bits();
            bits.wrapping_add(0x7FFF + (bits >> 16 & 1))
        };
        zip(low, high, |low, high| f32::from_bits(nearest(low) >> 16 | nearest(high) & 0xFFFF_0000))
    }

    #[inline(always)]
    fn unpair_bf16(self, v: V) -> [V; 2] {
        [v.map(|x| f32::from_bits(x.to_bits() << 16)), v.map(|x| f32::from_bits(x.to_bits() & 0xFFFF_0000))]
    }

    #[inline(always)]
    fn sum(self, v: V) -> f32 {
        (v[0] + v[1]) + (v[2] + v[3])
    }

    #[inline(always)]
    fn deinterleave4(self, v: [V; 4]) -> [V; 4] {
        let column = |i: usize| [v[0][i], v[1][i], v[2][i], v[3][i]];
        [column(0), column(1), column(2), column(3)]
    }

    #[inline(always)]
    fn interleave4(self, v: [V; 4]) -> [V; 4] {
        self.deinterleave4(v)
    }

    #[inline(always)]
    fn interleave2(self, [a, b]: [V; 2]) -> [V; 2] {
        [[a[0], b[0], a[1], b[1]], [a[2], b[2], a[3], b[3]]]
    }

    #[inline(always)]
    fn even(self, a: V, b: V) -> V {
        [a[0], a[2], b[0], b[2]]
    }

    #[inline(always)]
    fn shift_up(self, before: f32, v: V) -> V {
        [before, v[0], v[1], v[2]]
    }

    #[inline(always)]
    fn shift_in(self, v: V, next: f32) -> V {
        [v[1], v[2], v[3], next]
    }
}
