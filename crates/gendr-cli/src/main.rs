//! The `gendr` command: arguments in, messages out, no mathematics.

fn main() {}
