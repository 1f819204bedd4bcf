//! The report page.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

use std::{fs, ops::ControlFlow, path::Path};

use gendr_image::{EncodeOptions, OutputFormat, Picture, Planes, encode};
use gendr_metrics::{
    EvaluateOptions, Metric, ReportMethod, ReportOptions, built_in_metric, evaluate, pair_by_name,
    write_report,
};

const NAMES: [&str; 4] = ["a<i>", "b", "c", "d"];

fn write(folder: &Path, name: &str, phase: f32, noise: f32) {
    let (width, height) = (120, 90);
    let value = |index: usize| {
        let (x, y) = ((index % width) as f32, (index / width % height) as f32);
        0.5 + 0.3 * (0.2 * x + phase).sin() * (0.17 * y).cos()
            + noise * ((index * 7919 % 101) as f32 / 101.0 - 0.5)
    };
    let planes = Planes::from_vec(3, height, width, (0..3 * width * height).map(value).collect()).unwrap();
    fs::create_dir_all(folder).unwrap();
    let file = encode(&Picture::from_color(planes), &EncodeOptions::new(OutputFormat::Png)).unwrap();
    fs::write(folder.join(format!("{name}.png")), file.bytes).unwrap();
}

/// A report on two methods, in `root/report`.
fn report(root: &Path) -> String {
    let metrics: Vec<Box<dyn Metric>> =
        ["psnr-y", "d", "sharp"].map(|id| built_in_metric(id).unwrap()).into();
    for (index, name) in NAMES.iter().enumerate() {
        let phase = index as f32;
        write(&root.join("reference"), name, phase, 0.0);
        write(&root.join("near"), name, phase, 0.02 + 0.01 * phase);
        write(&root.join("far"), name, phase, 0.3);
    }
    let pairs = ["near", "far"]
        .map(|method| pair_by_name(&root.join(method), Some(&root.join("reference")), None).unwrap().pairs);
    let evaluations = [&pairs[0], &pairs[1]]
        .map(|pairs| evaluate(pairs, &metrics, &EvaluateOptions::default(), |_| ControlFlow::Continue(())));
    let methods: Vec<ReportMethod<'_>> = ["near", "far & wide"]
        .iter()
        .zip(&evaluations)
        .zip(&pairs)
        .map(|((name, evaluation), pairs)| ReportMethod { name, evaluation, pairs })
        .collect();
    let options = ReportOptions { pictures: 1, ..ReportOptions::default() };
    let path = write_report(&root.join("report"), &methods, &options).unwrap();
    assert!(write_report(root, &[], &options).is_err());
    let unknown = ReportOptions { ranked_by: Some("niqe".to_owned()), ..options };
    assert!(write_report(root, &methods, &unknown).is_err());
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_page_needs_nothing_else_and_shows_everything() {
    let root = tempfile::tempdir().unwrap();
    let page = report(root.path());
    for outside in ["http:", "https:", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let sources = page.matches(" src=\"").count();
    assert_eq!(page.matches(" src=\"data:image/png;base64,").count(), sources);
    // The best and the worst picture of each method, each in three versions.
    let cases = page.matches("class=\"case\"").count();
    assert!((2..=4).contains(&cases) && sources == 3 * cases, "{cases} {sources}");
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(page.contains("a&lt;i&gt;") && !page.contains("a<i>") && page.contains("far &amp; wide"));
    assert!(page.contains("<strong>") && !page.contains("NaN"));
}

/// What a visitor does with the keyboard, and what the page shows then, as text that a browser prints.
#[cfg(feature = "interop")]
const VISIT: &str = r#"<script>
const one = document.querySelector(".case"), compare = one.querySelector(".compare");
const crops = () => [...one.querySelectorAll(".crop img")].map(image => image.style.width + " " + image.style.left);
const press = (element, key) => element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const told = { focus: compare.tabIndex, before: crops() };
press(compare, "ArrowRight"); press(compare, "+");
told.after = crops();
const split = one.querySelector(".split");
split.value = 20; split.dispatchEvent(new Event("input"));
told.split = compare.style.getPropertyValue("--split");
const left = one.querySelector(".left");
left.value = left.options.length - 1; left.dispatchEvent(new Event("change"));
told.left = compare.querySelector(".over").alt;
const heading = document.querySelector(".sortable th:nth-child(2)");
const order = () => [...heading.closest("table").rows].slice(1).map(row => Number(row.cells[1].textContent));
press(heading, "Enter"); told.up = order();
press(heading, "Enter"); told.down = order();
told.overflow = document.documentElement.scrollWidth > innerWidth;
document.documentElement.dataset.told = JSON.stringify(told);
</script>"#;

/// Headless Chromium on a page.
#[cfg(feature = "interop")]
fn chromium(root: &Path, page: &Path, arguments: &[&str]) -> String {
    let profile = format!("--user-data-dir={}", root.join("profile").display());
    let mut command = std::process::Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", &profile]);
    let output = command.args(arguments).arg(format!("file://{}", page.display())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(feature = "interop")]
#[test]
fn the_page_obeys_the_keyboard() {
    let root = tempfile::tempdir().unwrap();
    let page = report(root.path());
    let visited = root.path().join("visited.html");
    fs::write(&visited, page.replace("</html>", &format!("{VISIT}</html>"))).unwrap();
    let document = chromium(root.path(), &visited, &["--dump-dom", "--window-size=400,900"]);
    let told = document.split("data-told=\"").nth(1).unwrap().split('"').next().unwrap();
    let told: serde_json::Value = serde_json::from_str(&told.replace("&quot;", "\"")).unwrap();
    assert_eq!(told["focus"], 0);
    for (time, wanted) in [("before", "400% -150%"), ("after", "500% -212.5%")] {
        let crops = told[time].as_array().unwrap();
        assert_eq!(crops.len(), 3);
        assert!(crops.iter().all(|crop| *crop == wanted), "{time}: {crops:?}");
    }
    assert_eq!((&told["split"], &told["left"]), (&"20%".into(), &told["left"]));
    assert!(
        told["left"].as_str().unwrap().starts_with("far &amp; wide")
            || told["left"].as_str().unwrap().starts_with("far & wide")
    );
    let numbers = |key: &str| -> Vec<f64> {
        told[key].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
    };
    let (up, mut down) = (numbers("up"), numbers("down"));
    assert!(up.len() == NAMES.len() && up.is_sorted(), "{up:?}");
    down.reverse();
    assert_eq!(up, down);
    assert_eq!(told["overflow"], false, "a narrow window scrolls sideways");
}

/// Opens the page in Chromium, runs its script and looks at the picture of it.
#[cfg(feature = "interop")]
#[test]
fn the_page_opens_in_a_browser() {
    let root = tempfile::tempdir().unwrap();
    report(root.path());
    let page = root.path().join("report/index.html");
    let shot = root.path().join("page.png");
    let document = chromium(root.path(), &page, &["--dump-dom"]);
    assert!(document.contains("data-ready="), "the script stopped");
    assert!(
        document.contains("class=\"over\" alt=\"near")
            && document.contains("class=\"under\" alt=\"reference\"")
    );
    let mut papers = Vec::new();
    for scheme in ["1", "0"] {
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let to = format!("--screenshot={}", shot.display());
        chromium(root.path(), &page, &[&to, "--window-size=1200,2400", &scheme]);
        let picture = gendr_image::read(&shot, &gendr_image::Limits::default()).unwrap().color;
        let distinct: std::collections::BTreeSet<u32> =
            picture.data().iter().map(|value| value.to_bits()).collect();
        assert!(distinct.len() > 100, "the page is empty");
        papers.push(picture.plane(0)[0]);
    }
    assert!(papers[0] > 0.9 && papers[1] < 0.2, "light and dark paper: {papers:?}");
}
