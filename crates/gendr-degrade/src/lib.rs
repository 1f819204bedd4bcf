//! How pictures go bad: the Real-ESRGAN degradation pipeline and its variants.
