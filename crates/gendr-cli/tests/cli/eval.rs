//! `gendr eval`.

use std::{fs, path::Path};

use serde_json::Value;
use snapbox::cmd::{Command, OutputAssert, cargo_bin};

use crate::pictures::{waves, write};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "sub/e"];

/// Folders `reference`, `near` and `far` (more noise) with five pictures each.
fn folders() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (index, name) in NAMES.iter().enumerate() {
        for (folder, noise) in [("reference", 0.0), ("near", 0.02 + 0.01 * index as f32), ("far", 0.2)] {
            let picture = waves(60, 44, index as f32, noise);
            write(&root.path().join(folder).join(format!("{name}.png")), picture);
        }
    }
    root
}

fn eval(root: &Path, arguments: &str) -> OutputAssert {
    Command::new(cargo_bin!("gendr")).current_dir(root).arg("eval").args(arguments.split(' ')).assert()
}

fn stdout(assert: &OutputAssert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn stderr(assert: &OutputAssert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

fn json_lines(assert: &OutputAssert) -> Vec<Value> {
    stdout(assert).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_folder_is_scored_against_its_reference() {
    let root = folders();
    let table = eval(root.path(), "reference reference --metrics psnr-y,ssim-y,d");
    table.success().stdout_eq(
        "\
metric    mean     95 % interval  median   least    most  pictures  better
psnr-y  100.00  100.00 to 100.00  100.00  100.00  100.00         5  higher
ssim-y  1.0000  1.0000 to 1.0000  1.0000  1.0000  1.0000         5  higher
d        1.000    1.000 to 1.000   1.000   1.000   1.000         5  higher
",
    );
}

#[test]
fn json_and_csv_have_each_picture_and_the_means() {
    let root = folders();
    let assert =
        eval(root.path(), "near reference --metrics psnr,sharp --crop 4 --json --csv scores.csv").success();
    let lines = json_lines(&assert);
    assert_eq!(lines.len(), 6);
    assert_eq!((&lines[4]["name"], &lines[5]["count"]), (&"sub/e".into(), &5.into()));
    let scores: Vec<f64> = lines[..5].iter().map(|line| line["metrics"]["psnr"].as_f64().unwrap()).collect();
    let mean = lines[5]["mean"]["psnr"].as_f64().unwrap();
    assert!((scores.iter().sum::<f64>() / 5.0 - mean).abs() < 1e-9 && scores[0] > scores[4]);
    let interval = &lines[5]["interval"]["psnr"];
    assert!(interval[0].as_f64() < Some(mean) && Some(mean) < interval[1].as_f64());
    let table = fs::read_to_string(root.path().join("scores.csv")).unwrap();
    assert!(table.starts_with("name,psnr,sharp,notes\na,"), "{table}");
    assert_eq!(table.lines().count(), 9);
}

#[test]
fn missing_partners_and_odd_sizes_are_told_and_the_rest_is_scored() {
    let root = folders();
    let near = root.path().join("near");
    fs::remove_file(near.join("a.png")).unwrap();
    fs::rename(near.join("b.png"), near.join("other.png")).unwrap();
    write(&near.join("c.png"), waves(30, 22, 0.0, 0.0));
    fs::write(near.join("d.png"), "no picture").unwrap();
    let assert = eval(root.path(), "near reference --metrics psnr --json").code(1);
    let said = stderr(&assert);
    for wanted in [
        "a picture has no partner of the same name: near/other.png",
        "the reference has no picture of the same name: reference/a.png",
        "the reference has no picture of the same name: reference/b.png",
        "no score for c: output and reference differ in size: 30x22 and 60x44",
        "no score for d: ",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    let lines = json_lines(&assert);
    assert_eq!((&lines[3]["count"], &lines[3]["failed"]), (&1.into(), &2.into()));
    assert!(lines[3]["mean"]["psnr"].as_f64() > Some(20.0));
}

#[test]
fn a_metric_without_a_score_fails_only_where_it_was_asked_for() {
    let root = folders();
    let assert = eval(root.path(), "near reference").success();
    assert!(
        stderr(&assert)
            .contains("warning: 5 of 5 pictures, such as a: ms-ssim: MS-SSIM needs sides of at least")
    );
    assert!(stdout(&assert).contains("\npsnr-y ") && !stdout(&assert).contains("ms-ssim"));
    eval(root.path(), "near reference --metrics ms-ssim,psnr").code(1);
}

#[test]
fn methods_are_compared_picture_by_picture() {
    let root = folders();
    let assert =
        eval(root.path(), "--compare near worse=far --reference reference --metrics psnr --quiet").success();
    let table = stdout(&assert);
    assert!(table.starts_with("psnr, higher is better, 5 pictures\n* near "), "{table}");
    let assert =
        eval(root.path(), "--compare near far --reference reference --metrics psnr --json").success();
    let lines = json_lines(&assert);
    assert_eq!(lines.len(), 13);
    assert_eq!((&lines[9]["method"], &lines[11]["method"]), (&"far".into(), &"far".into()));
    let [best, worse] = [0, 1].map(|index| &lines[12]["methods"][index]);
    assert_eq!((&best["best"], &worse["best"]), (&true.into(), &false.into()));
    assert!(worse["difference"]["mean"].as_f64() < Some(-5.0));
    // Five pictures: two of 32 sign patterns are as extreme.
    assert_eq!(worse["difference"]["p_value"], 0.0625);
    let assert = eval(root.path(), "--compare near far --reference reference --metrics psnr --markdown");
    assert!(stdout(&assert.success()).starts_with("| | PSNR |\n|---|---|\n| near | **"));
}

#[test]
fn a_report_is_one_page() {
    let root = folders();
    eval(
        root.path(),
        "--compare near far --reference reference --metrics psnr-y,d --report page --rank-by d",
    )
    .success();
    let page = fs::read_to_string(root.path().join("page/index.html")).unwrap();
    assert!(page.contains("Best and worst by D") && page.contains("<svg"));
    assert_eq!(fs::read_dir(root.path().join("page")).unwrap().count(), 1);
}

#[test]
fn wrong_requests_are_refused_before_anything_is_scored() {
    let root = folders();
    for (arguments, wanted) in [
        (
            "near reference --metrics psnr,psnr-z",
            "error: there is no metric psnr-z\nhint: known are psnr, psnr-y",
        ),
        ("near --metrics psnr", "error: psnr needs a reference\nhint: "),
        ("near reference --metrics lr-psnr", "error: lr-psnr needs the low-resolution pictures\nhint: "),
        ("missing reference", "error: cannot read the folder: "),
        ("--compare near near --reference reference", "error: two methods are called near\nhint: "),
        ("near reference --csv missing/scores.csv", "error: no such folder for the table: missing"),
        ("near reference --metrics psnr --report page --rank-by d", "error: pictures cannot be ranked by d"),
    ] {
        let assert = eval(root.path(), arguments).code(2);
        assert!(stderr(&assert).contains(wanted), "{arguments}: {}", stderr(&assert));
    }
    for arguments in
        ["--compare near --json --markdown", "near --compare far", "near reference --reference far"]
    {
        eval(root.path(), arguments).code(2);
    }
}

#[test]
fn metrics_are_explained() {
    let assert = eval(Path::new("."), "--list-metrics").success();
    assert!(stdout(&assert).contains("psnr-y\n  PSNR on BT.601 studio-range luma"));
    assert_eq!(stdout(&assert).matches("\n  Source: ").count(), stdout(&assert).split("\n\n").count());
}

#[test]
fn a_test_set_is_restored_scored_and_resumed() {
    let root = tempfile::tempdir().unwrap();
    for index in 0..2_u8 {
        let picture = waves(63, 45, f32::from(index), 0.02);
        write(&root.path().join(format!("set/img_00{index}_SRF_4_HR.png")), picture);
    }
    let command = "--restore set --layout set5 --model bicubic named=lanczos gendr-tiny -o run --metrics psnr-y,lr-psnr";
    let assert = eval(root.path(), command).success();
    let table = stdout(&assert);
    assert!(table.starts_with("psnr-y, higher is better, 2 pictures\n"), "{table}");
    let run = root.path().join("run");
    let means = fs::read_to_string(run.join("table.md")).unwrap();
    assert!(means.starts_with("| | PSNR-Y | LR-PSNR |\n") && means.contains("| gendr-tiny | "), "{means}");
    assert_eq!(fs::read_to_string(run.join("scores.csv")).unwrap().lines().count(), 16);
    let small =
        gendr_image::read(&run.join("input/img_000_SRF_4_HR.png"), &gendr_image::Limits::default()).unwrap();
    assert_eq!((small.width(), small.height()), (15, 11));

    // What is there is kept, what is missing is made again, the same.
    let [kept, lost] = [0, 1].map(|index| run.join(format!("gendr-tiny/img_00{index}_SRF_4_HR.png")));
    let before = fs::metadata(&kept).unwrap().modified().unwrap();
    fs::remove_file(&lost).unwrap();
    assert_eq!(stdout(&eval(root.path(), command).success()), table);
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), before);

    let other = "--restore set --layout set5 --model named=bicubic -o run";
    let assert = eval(root.path(), other).code(2);
    assert!(stderr(&assert).contains("here are results of another model, Lanczos: run/named"));
}

#[test]
fn a_set_that_is_not_as_said_is_refused() {
    let root = folders();
    for (arguments, wanted) in [
        (
            "--restore near --layout drealsr -m bicubic -o run",
            "no pictures laid out as drealsr: near\nhint: looked for test_HR/*",
        ),
        (
            "--restore near --layout other -m bicubic -o run",
            "there is no layout other\nhint: known are auto, realsr",
        ),
        ("--restore near --layout hr -m missing -o run", "no such model: missing\nhint: "),
        ("--restore near --layout hr -m bicubic bicubic -o run", "two models are called bicubic\nhint: "),
        ("--restore near --layout hr -m ../up=bicubic -o run", "a model cannot be called ../up"),
        ("--restore near --layout hr -o run", "--model"),
    ] {
        let assert = eval(root.path(), arguments).code(2);
        assert!(stderr(&assert).contains(wanted), "{arguments}: {}", stderr(&assert));
    }
}

#[test]
fn niqe_takes_a_model_fitted_on_a_folder() {
    let root = tempfile::tempdir().unwrap();
    for index in 0..10_u8 {
        let picture = waves(480, 384, f32::from(index), 0.2);
        write(&root.path().join(format!("pristine/{index}.png")), picture);
    }
    write(&root.path().join("output/a.png"), waves(480, 384, 50.0, 0.2));
    let mean = |arguments: &str| {
        let assert = eval(root.path(), &format!("output --metrics niqe --json{arguments}")).success();
        json_lines(&assert)[1]["mean"]["niqe"].as_f64().unwrap()
    };
    assert!(mean(" --niqe-model pristine") < mean(""));
    fs::write(root.path().join("model.json"), "{\"mean\": [1], \"covariance\": []}").unwrap();
    let assert = eval(root.path(), "output --metrics niqe --niqe-model model.json").code(2);
    assert!(stderr(&assert).contains("no NIQE model: a NIQE model has 36 means"), "{}", stderr(&assert));
}

#[test]
fn a_learned_metric_without_weights_is_refused_by_name_and_the_others_run() {
    let root = folders();
    let assert =
        eval(root.path(), "near reference --metrics psnr,lpips-alex,dists --weights missing --json").code(1);
    let said = stderr(&assert);
    for metric in ["lpips-alex", "dists"] {
        assert!(said.contains(&format!("error: {metric} cannot be computed: ")), "{said}");
    }
    assert!(said.contains(
        "hint: give `--weights` a folder with torchvision's AlexNet (alexnet-owt-7be5be79.pth) as alexnet.pth"
    ));
    assert!(json_lines(&assert)[5]["mean"]["psnr"].as_f64() > Some(20.0));
    eval(root.path(), "near reference --metrics lpips-vgg").code(2);
}
