//! What all targets share.

use gendr_image::Limits;

/// Little enough that a decoder which trusted a lying header would be seen, and quick.
pub const LIMITS: Limits = Limits { max_pixels: 1 << 20, max_bytes: 64 << 20 };

/// Decoders of other crates may panic on hostile files, and `decode` turns that into an error. Panics in our own code are
/// findings.
pub fn tolerate_panics_of_others() {
    std::panic::set_hook(Box::new(|panic| {
        let ours = panic.location().is_some_and(|place| place.file().contains("gendr-image"));
        if ours {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}

/// An error's message is one line that says something.
pub fn check(error: &gendr_image::Error) {
    let message = error.to_string();
    assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
}
