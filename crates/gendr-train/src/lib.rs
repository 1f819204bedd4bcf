//! The training stages of GenDR.
