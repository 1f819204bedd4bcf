//! A device that runs out of memory gets smaller tiles.

use gendr_image::Notice;

use crate::{ErrorKind, MIN_TILE, RestoreOptions, Result, Tiling};

/// Runs `attempt` with the options, and where the device lacks resources again with tiles of half the side, down to the
/// smallest. `side` is that of the first attempt's tiles, in pixels of the result. Also tells what was done.
///
/// # Errors
/// The last error of `attempt`, or the first that smaller tiles do not help.
pub(crate) fn with_smaller_tiles<T>(
    options: &RestoreOptions,
    side: usize,
    mut attempt: impl FnMut(&RestoreOptions) -> Result<T>,
) -> Result<(T, Option<Notice>)> {
    let mut side = side.next_power_of_two();
    let mut result = attempt(options);
    let mut notice = None;
    while let Err(error) = &result
        && error.kind() == ErrorKind::Resource
        && side > MIN_TILE
    {
        side /= 2;
        notice = Some(Notice::converted(format!("{error}: tiles of {side} pixels were used")));
        // An overlap asks for tiles that are restored on their own.
        let overlap = Some(side / 4);
        result = attempt(&RestoreOptions { tile: Tiling::Size(side), overlap, ..options.clone() });
    }
    Ok((result?, notice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// A device that has room for tiles up to this side.
    fn device(room: usize) -> impl FnMut(&RestoreOptions) -> Result<usize> {
        move |options| {
            let side = if let Tiling::Size(side) = options.tile { side } else { 1000 };
            let full = || Error::new(ErrorKind::Resource, "the device is out of memory");
            if side <= room { Ok(side) } else { Err(full()) }
        }
    }

    #[test]
    fn tiles_are_halved_until_they_fit_and_it_is_said() {
        let options = RestoreOptions::default();
        let (side, notice) = with_smaller_tiles(&options, 1000, device(300)).unwrap();
        assert_eq!(side, 256);
        assert!(notice.unwrap().to_string().contains("out of memory: tiles of 256 pixels"));
        let (side, notice) = with_smaller_tiles(&options, 1000, device(2000)).unwrap();
        assert!(side == 1000 && notice.is_none());
    }

    #[test]
    fn what_smaller_tiles_do_not_help_is_an_error() {
        let options = RestoreOptions::default();
        assert_eq!(with_smaller_tiles(&options, 1000, device(10)).unwrap_err().kind(), ErrorKind::Resource);
        let mut attempts = 0;
        let failed = with_smaller_tiles::<()>(&options, 1000, |_| {
            attempts += 1;
            Err(Error::cancelled())
        });
        assert_eq!((failed.unwrap_err().kind(), attempts), (ErrorKind::Cancelled, 1));
    }
}
