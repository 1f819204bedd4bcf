//! The same input, model and options give the same pixels.

use gendr::{CancelFlag, ErrorKind, ModelSource, Observer, Progress, RestoreOptions, Restorer, Tiling};

use crate::support::{latent_description, picture, plain, random, restore, threads};

#[test]
fn threads_and_runs_do_not_change_a_pixel() {
    let tiled = RestoreOptions { tile: Tiling::Size(128), ..RestoreOptions::default() };
    let picture = picture(60, 45);
    let results: Vec<_> = [1, 2, 2, 3]
        .map(|count| Restorer::open(&ModelSource::BuiltIn, threads(count)).unwrap())
        .iter()
        .map(|restorer| restore(restorer, &picture, &tiled).picture.color)
        .collect();
    for other in &results[1..] {
        assert!(results[0].data() == other.data());
    }
}

#[test]
fn threads_do_not_change_a_pixel_of_a_latent_model() {
    let (folder, two) = random(&latent_description());
    let one = Restorer::open(&ModelSource::Path(folder.path().join("model")), threads(1)).unwrap();
    let options = RestoreOptions { tile: Tiling::Size(128), ..plain() };
    let [a, b] = [&one, &two].map(|restorer| restore(restorer, &picture(50, 40), &options).picture.color);
    assert!(a.data() == b.data());
}

#[test]
fn progress_rises_to_the_end_and_counts_the_tiles() {
    struct Seen(std::sync::Mutex<Vec<Progress>>);
    impl Observer for Seen {
        fn progress(&self, progress: Progress) {
            self.0.lock().unwrap().push(progress);
        }
    }
    let (_folder, restorer) = random(&latent_description());
    let seen = Seen(std::sync::Mutex::default());
    let options = RestoreOptions { tile: Tiling::Size(64), ..RestoreOptions::default() };
    let restored = restorer.restore(&picture(40, 30), &options, &seen, &CancelFlag::new()).unwrap();
    let seen = seen.0.into_inner().unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].fraction <= pair[1].fraction + 1e-9));
    assert!((seen.last().unwrap().fraction - 1.0).abs() < 1e-9);
    assert!(restored.tiles > 1);
    assert!(seen.iter().any(|progress| progress.total == restored.tiles && progress.done == restored.tiles));
}

#[test]
fn a_cancelled_restoration_stops_at_the_next_tile() {
    struct CancelAtOnce(CancelFlag);
    impl Observer for CancelAtOnce {
        fn progress(&self, progress: Progress) {
            assert!(progress.done <= 1);
            self.0.cancel();
        }
    }
    let (_folder, restorer) = random(&latent_description());
    let flag = CancelFlag::new();
    let observer = CancelAtOnce(flag.clone());
    let error = restorer.restore(&picture(30, 30), &plain(), &observer, &flag).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}
