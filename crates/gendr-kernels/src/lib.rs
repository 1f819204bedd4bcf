//! CPU arithmetic on slices for restoration networks.
