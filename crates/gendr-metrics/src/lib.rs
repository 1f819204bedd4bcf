//! How good is a picture.
