//! What is written to look at results, and what guards them.

use std::{fs, path::Path};

use gendr_image::{Limits, read};
#[cfg(feature = "interop")]
use gendr_image::{Planes, upscale};
use serde_json::Value;
use snapbox::cmd::{Command, OutputAssert, cargo_bin};

use crate::pictures::{waves, write};

fn gendr(root: &Path, arguments: &str) -> OutputAssert {
    Command::new(cargo_bin!("gendr")).current_dir(root).args(arguments.split(' ')).assert()
}

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("a.png"), waves(40, 30, 0.0, 0.2));
    root
}

#[test]
fn before_and_after_stand_beside_the_result() {
    let root = folder();
    gendr(root.path(), "restore a.png -o out.png --before-after").success();
    gendr(root.path(), "restore a.png -o other.png --before-after=side").success();
    let page = fs::read_to_string(root.path().join("out.before-after.html")).unwrap();
    assert!(page.contains("data:image/png;base64,") && page.contains("data:image/jpeg;base64,"));
    assert!(!page.contains("http"), "nothing from outside");
    let both = read(&root.path().join("other.before-after.png"), &Limits::default()).unwrap();
    assert_eq!((both.width(), both.height()), (2 * 160 + 16, 120));
    // They are not replaced either.
    fs::remove_file(root.path().join("out.png")).unwrap();
    gendr(root.path(), "restore a.png -o out.png --before-after").code(1);
    assert!(!root.path().join("out.png").exists());
}

/// How a page looks in headless Chromium.
#[cfg(feature = "interop")]
fn screenshot(root: &Path, page: &Path) -> Planes {
    let shot = root.join("shot.png");
    let output = std::process::Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--force-color-profile=srgb", "--window-size=640,600"])
        .arg(format!("--user-data-dir={}", root.join("profile").display()))
        .arg(format!("--screenshot={}", shot.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read(&shot, &Limits::default()).unwrap().color
}

#[cfg(feature = "interop")]
#[test]
fn a_browser_shows_the_input_left_of_the_line_and_the_result_right_of_it() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    write(&path("a.png"), waves(120, 90, 0.0, 0.3));
    gendr(root.path(), "restore a.png -o out.png --before-after").success();
    let [input, after] =
        ["a.png", "out.png"].map(|name| read(&path(name), &Limits::default()).unwrap().color);
    let before = upscale(&input, 480, 360).unwrap();
    let page = fs::read_to_string(path("out.before-after.html")).unwrap();
    for percent in [50, 10, 100] {
        let moved = format!(
            "<script>slider.value = {percent}; slider.dispatchEvent(new Event('input'));</script></html>"
        );
        fs::write(path("moved.html"), page.replace("</html>", &moved)).unwrap();
        // The pictures stand in the middle of a window of 640.
        let shown = screenshot(root.path(), &path("moved.html")).crop(80, 0, 480, 360).unwrap();
        let distance = |other: &Planes, from: usize, to: usize| {
            let part = |planes: &Planes| planes.crop(from, 0, to - from, 360).unwrap();
            let (shown, other) = (part(&shown), part(other));
            let differences = shown.data().iter().zip(other.data()).map(|(a, b)| (a - b).abs());
            differences.sum::<f32>() / shown.data().len() as f32
        };
        let line = 480 * percent / 100;
        // The line itself is neither.
        let parts = [(0, line - 2, &before, &after), (line + 2, 480, &after, &before)];
        for (from, to, there, absent) in parts.into_iter().filter(|part| part.0 < part.1) {
            let (there, absent) = (distance(there, from, to), distance(absent, from, to));
            assert!(there < 0.03 && there < 0.95 * absent, "{percent}%, {from}..{to}: {there}, {absent}");
        }
    }
}

#[test]
fn the_drift_is_in_json_and_recipe_and_on_a_map() {
    let root = folder();
    let assert = gendr(root.path(), "restore a.png -o out.png --consistency --json").success();
    let told: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let worst = told["drift"]["worst"].as_f64().unwrap();
    assert!(worst > 0.0 && told["drift"]["mean"].as_f64().unwrap() <= worst);
    let assert = gendr(root.path(), "recipe out.png --json").success();
    let recipe: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(recipe["drift"], told["drift"]);
    let map = read(&root.path().join("out.drift.png"), &Limits::default()).unwrap();
    assert_eq!((map.width(), map.height()), (40, 30));
}

#[test]
fn what_drifts_too_far_fails_and_is_not_written() {
    let root = folder();
    let assert = gendr(root.path(), "restore a.png -o out.png --max-drift 0.0001").code(1);
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(
        said.starts_with("error: the result drifts 0.")
            && said.contains("over the limit of 0.0001: a.png\nhint: ")
    );
    assert!(!root.path().join("out.png").exists());
    gendr(root.path(), "restore a.png -o out.png --max-drift 0.9").success();
    gendr(root.path(), "restore a.png -o out2.png --max-drift 2").code(2);
}
