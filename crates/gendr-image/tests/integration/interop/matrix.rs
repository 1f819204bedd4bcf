//! Files of other programs in every kind of depth, opacity, profile and orientation, with metadata: what comes out is judged
//! by ImageMagick (pixels), exiftool (metadata) and lcms (colours), never by our own reader.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use gendr_image::{EncodeOptions, Format, Limits, Notice, NoticeKind, OutputFormat, encode, read};
use moxcms::ColorProfile;
use rayon::prelude::*;
use serde_json::Value;

use super::run;

/// One source file and what it must become.
struct Case {
    source: PathBuf,
    result: PathBuf,
    /// The picture upright, as PNG of the same depth.
    upright: PathBuf,
    format: &'static str,
    depth: u8,
    alpha: bool,
    grey: bool,
    profile: Option<&'static str>,
    orientation: usize,
}

/// What ImageMagick does to an upright picture so that each orientation, from 1 to 8, brings it back.
const STORED: [&[&str]; 8] = [
    &[],
    &["-flop"],
    &["-rotate", "180"],
    &["-flip"],
    &["-transpose"],
    &["-rotate", "270"],
    &["-transverse"],
    &["-rotate", "90"],
];

/// Formats, the depths and kinds of picture they hold, and the extension.
const KINDS: [(&str, &[u8], bool, bool); 5] = [
    ("png", &[8, 16], true, true),
    ("tif", &[8, 16], true, true),
    ("tiled.tif", &[8, 16], true, true),
    ("webp", &[8], true, false),
    ("jpg", &[8], false, true),
];

const PROFILES: [Option<&str>; 4] = [None, Some("p3"), Some("adobe"), Some("prophoto")];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write_profiles(folder: &Path) {
    for (name, profile) in [
        ("p3", ColorProfile::new_display_p3()),
        ("adobe", ColorProfile::new_adobe_rgb()),
        ("prophoto", ColorProfile::new_pro_photo_rgb()),
        ("grey", ColorProfile::new_gray_with_gamma(1.8)),
    ] {
        let mut icc = profile.encode().unwrap();
        icc.resize(icc.len().next_multiple_of(4), 0);
        let length = icc.len() as u32;
        icc[..4].copy_from_slice(&length.to_be_bytes());
        fs::write(folder.join(format!("{name}.icc")), icc).unwrap();
    }
}

/// A picture of smooth colours and edges, of every level in 16 bits, made by ImageMagick.
fn write_upright(folder: &Path, depth: u8, alpha: bool, grey: bool) -> PathBuf {
    let path = folder.join(format!("upright_{depth}_{alpha}_{grey}.png"));
    let mut arguments = vec!["-size", "40x24", "plasma:tomato-steelblue", "-seed", "7"];
    arguments.extend([
        "-fill",
        "white",
        "-draw",
        "rectangle 3,2 12,6",
        "-fill",
        "black",
        "-draw",
        "line 5,20 35,10",
    ]);
    if grey {
        arguments.extend(["-colorspace", "gray"]);
    }
    if alpha {
        arguments.extend([
            "(",
            "-size",
            "40x24",
            "gradient:white-gray10",
            ")",
            "-alpha",
            "off",
            "-compose",
            "copy-opacity",
            "-composite",
        ]);
    }
    let (depth, kind) = (
        depth.to_string(),
        match (grey, alpha) {
            (false, false) => "png:color-type=2",
            (false, true) => "png:color-type=6",
            (true, false) => "png:color-type=0",
            (true, true) => "png:color-type=4",
        },
    );
    arguments.extend(["-depth", &depth, "-define", kind, "-strip", text(&path)]);
    run("convert", &arguments);
    path
}

fn write_source(case: &Case, folder: &Path) {
    let stored = case.source.with_extension("stored.png");
    let profile = case.profile.map(|name| text(&folder.join(format!("{name}.icc"))).to_owned());
    let mut arguments = vec![text(&case.upright)];
    arguments.extend(STORED[case.orientation - 1]);
    arguments.push("+repage");
    if let Some(profile) = &profile {
        arguments.extend(["-profile", profile]);
    }
    let out = match case.format {
        "jpg" => {
            arguments.extend(["-quality", "100", "-sampling-factor", "1x1"]);
            text(&case.source)
        }
        "tif" => {
            arguments.extend(["-compress", "zip"]);
            text(&case.source)
        }
        "png" => text(&case.source),
        _ => text(&stored),
    };
    arguments.push(out);
    run("convert", &arguments);
    match case.format {
        "tiled.tif" => {
            let options = "[compression=lzw,tile,tile-width=16,tile-height=16]";
            run("vips", &["copy", text(&stored), &format!("{}{options}", text(&case.source))]);
        }
        "webp" => {
            run(
                "cwebp",
                &[
                    "-quiet",
                    "-lossless",
                    "-exact",
                    "-metadata",
                    "all",
                    text(&stored),
                    "-o",
                    text(&case.source),
                ],
            );
        }
        _ => {}
    }
}

fn cases(folder: &Path) -> Vec<Case> {
    write_profiles(folder);
    let mut cases = Vec::new();
    for (format, depths, with_alpha, with_grey) in KINDS {
        for &depth in depths {
            for alpha in [false, true] {
                for grey in [false, true] {
                    if (alpha && !with_alpha) || (grey && !with_grey) {
                        continue;
                    }
                    let upright = write_upright(folder, depth, alpha, grey);
                    let profiles: &[_] = if grey { &[None, Some("grey")] } else { &PROFILES };
                    for &profile in profiles {
                        for orientation in 1..=8 {
                            let name = format!(
                                "{format}_{depth}_{alpha}_{grey}_{}_{orientation}",
                                profile.unwrap_or("none")
                            );
                            let extension = format.rsplit('.').next().unwrap();
                            cases.push(Case {
                                source: folder.join(format!("{name}.{extension}")),
                                result: folder.join(format!("{name}_out.{extension}")),
                                upright: upright.clone(),
                                format,
                                depth,
                                alpha,
                                grey,
                                profile,
                                orientation,
                            });
                        }
                    }
                }
            }
        }
    }
    cases
}

/// Writes tags into all sources of one orientation at a time.
fn describe(cases: &[Case]) {
    for orientation in 1..=8 {
        let orientation_tag = format!("-EXIF:Orientation#={orientation}");
        let mut arguments = vec![
            "-q",
            "-q",
            "-overwrite_original",
            "-n",
            &orientation_tag,
            "-EXIF:Make=Maker & Söhne",
            "-EXIF:ISO=400",
            "-EXIF:LensModel=A lens of some length",
            "-EXIF:GPSLatitude=52.5",
            "-EXIF:GPSLatitudeRef=N",
            "-EXIF:ExifImageWidth=24",
            "-EXIF:ExifImageHeight=16",
            "-EXIF:UserComment=kept",
            "-XMP-dc:Title=Grün <title>",
            "-XMP-dc:Subject=one",
            "-XMP-dc:Subject=two",
            "-XMP-xmp:Rating=4",
        ];
        let of = |iptc: bool| {
            cases
                .iter()
                .filter(move |case| case.orientation == orientation && (case.format != "webp") == iptc)
                .map(|case| text(&case.source))
        };
        let files: Vec<&str> = of(false).collect();
        run("exiftool", &[arguments.clone(), files].concat());
        arguments.extend([
            "-IPTC:ObjectName=Object",
            "-IPTC:Keywords=word",
            "-EXIF:XResolution=300",
            "-EXIF:YResolution=300",
            "-EXIF:ResolutionUnit#=2",
        ]);
        run("exiftool", &[arguments, of(true).collect()].concat());
    }
}

/// Pixels of 16 bits, all four channels, as ImageMagick reads them.
fn pixels(path: &Path) -> (Vec<u16>, String) {
    let bytes = run("convert", &[text(path), "-depth", "16", "-endian", "LSB", "rgba:-"]);
    let size = String::from_utf8(run("identify", &["-format", "%wx%h %z", text(path)])).unwrap();
    (bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(), size)
}

fn check_pixels(case: &Case, (want, want_size): &(Vec<u16>, String)) {
    let (got, got_size) = pixels(&case.result);
    let name = case.result.display();
    assert_eq!(got_size, *want_size, "{name}");
    let level = if case.depth == 8 { 257 } else { 1 };
    let most = if case.format == "jpg" { 6 * level } else { level };
    for (index, (got, want)) in got.chunks_exact(4).zip(want.chunks_exact(4)).enumerate() {
        let worst = got.iter().zip(want).map(|(got, want)| got.abs_diff(*want)).max().unwrap();
        assert!(worst <= most, "{name}: pixel {index} is {got:?}, not {want:?}");
    }
}

fn check_tags(case: &Case, tags: &Value, before: &Value) {
    let name = case.result.display();
    for (tag, want) in [
        ("EXIF:Make", Value::from("Maker & Söhne")),
        ("EXIF:ISO", 400.into()),
        ("EXIF:LensModel", "A lens of some length".into()),
        ("EXIF:GPSLatitude", 52.5.into()),
        ("EXIF:GPSLatitudeRef", "N".into()),
        ("EXIF:ExifImageWidth", 40.into()),
        ("EXIF:ExifImageHeight", 24.into()),
        ("EXIF:UserComment", "kept".into()),
        ("XMP:Title", "Grün <title>".into()),
        ("XMP:Subject", vec!["one", "two"].into()),
        ("XMP:Rating", 4.into()),
    ] {
        assert_eq!(tags[tag], want, "{name}: {tag}");
    }
    assert!(tags.get("EXIF:Orientation").is_none_or(|value| value == 1), "{name}: {tags}");
    if case.format != "webp" {
        for (tag, want) in [("IPTC:ObjectName", "Object"), ("IPTC:Keywords", "word")] {
            assert_eq!(tags[tag], want, "{name}: {tag}");
        }
        assert_eq!(tags["EXIF:XResolution"], 300, "{name}");
    }
    assert_eq!(tags.get("ExifTool:Warning"), before.get("ExifTool:Warning"), "{name}");
    let description = tags.get("ICC_Profile:ProfileDescription");
    assert_eq!(description, before.get("ICC_Profile:ProfileDescription"), "{name}");
    assert_eq!(
        description.is_some() || tags.get("ICC_Profile:ProfileVersion").is_some(),
        case.profile.is_some(),
        "{name}"
    );
    // Grey and opacity are in the file, not only in the pixels.
    let channels = (if case.grey { 1 } else { 3 }) + usize::from(case.alpha);
    match case.format {
        "png" => {
            let kind = ["", "Grayscale", "Grayscale with Alpha", "RGB", "RGB with Alpha"][channels];
            assert_eq!(tags["PNG:ColorType"], [0, 0, 4, 2, 6][channels], "{name}: not {kind}");
            assert_eq!(tags["PNG:BitDepth"], case.depth, "{name}");
        }
        "tif" | "tiled.tif" => assert_eq!(tags["EXIF:SamplesPerPixel"], channels, "{name}"),
        "jpg" => assert_eq!(tags["File:ColorComponents"], channels, "{name}"),
        _ => {}
    }
}

/// exiftool's view of many files, in their order.
fn tags<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<Value> {
    let files: Vec<&str> = files.map(text).collect();
    let json = run("exiftool", &[&["-j", "-n", "-G0"][..], &files].concat());
    serde_json::from_slice(&json).unwrap()
}

/// The profiles of many files, in their order, as exiftool finds them.
fn profiles<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<Option<Value>> {
    let files: Vec<&str> = files.map(text).collect();
    let json = run("exiftool", &[&["-j", "-b", "-ICC_Profile"][..], &files].concat());
    let files: Vec<Value> = serde_json::from_slice(&json).unwrap();
    files.into_iter().map(|file| file.get("ICC_Profile").cloned()).collect()
}

fn tell(notices: &[Notice]) -> Vec<String> {
    notices.iter().filter(|notice| notice.kind() == NoticeKind::Dropped).map(ToString::to_string).collect()
}

#[test]
fn nothing_is_lost_on_the_way_from_format_to_the_same_format() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases(folder.path());
    cases.par_iter().for_each(|case| write_source(case, folder.path()));
    describe(&cases);
    for case in &cases {
        let picture = read(&case.source, &Limits::default()).unwrap();
        assert_eq!(tell(&picture.notices), Vec::<String>::new(), "{}", case.source.display());
        let options = EncodeOptions {
            quality: (picture.format == Format::Jpeg).then_some(100),
            ..EncodeOptions::new(OutputFormat::same_as(picture.format))
        };
        let encoded = encode(&picture, &options).unwrap();
        assert_eq!(tell(&encoded.notices), Vec::<String>::new(), "{}", case.source.display());
        fs::write(&case.result, encoded.bytes).unwrap();
    }
    let (sources, results) = (
        || cases.iter().map(|case| case.source.as_path()),
        || cases.iter().map(|case| case.result.as_path()),
    );
    for ((case, before), after) in cases.iter().zip(tags(sources())).zip(tags(results())) {
        check_tags(case, &after, &before);
    }
    for ((case, before), after) in cases.iter().zip(profiles(sources())).zip(profiles(results())) {
        assert_eq!(before.is_some(), case.profile.is_some(), "{}", case.source.display());
        assert_eq!(after, before, "{}", case.result.display());
    }
    let mut uprights = HashMap::new();
    for case in &cases {
        uprights.entry(&case.upright).or_insert_with_key(|path| pixels(path));
    }
    cases.par_iter().for_each(|case| check_pixels(case, &uprights[&case.upright]));
    println!("{} files", cases.len());
}

/// Formats that are features of the build: made and judged by their own programs and exiftool.
#[cfg(any(feature = "avif", feature = "jxl"))]
fn check_feature(format: OutputFormat, encoder: &[&str], decoder: &str, most: f32) {
    use crate::samples::{base, difference};
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for kind in ["exact", "alpha"] {
        let (png, extension) = (path("source.png"), format.extension());
        let (source, result, decoded) =
            (path(&format!("a.{extension}")), path(&format!("b.{extension}")), path("b.png"));
        fs::write(&png, encode(&base(kind), &EncodeOptions::new(OutputFormat::Png)).unwrap().bytes).unwrap();
        let written = [
            "-EXIF:Make=Maker",
            "-EXIF:ISO=400",
            "-EXIF:GPSLatitude=52.5",
            "-EXIF:XResolution=300",
            "-XMP-dc:Title=Grün",
        ];
        run(encoder[0], &[&encoder[1..], &[text(&png), text(&source)]].concat());
        // `-m`: a bare JPEG XL stream is wrapped in a container, which counts as a minor error.
        let quietly = ["-q", "-m", "-overwrite_original", "-n"];
        run("exiftool", &[&quietly[..], &written[..], &[text(&source)]].concat());
        let picture = read(&source, &Limits::default()).unwrap();
        let options = EncodeOptions { quality: Some(100), ..EncodeOptions::new(format) };
        let encoded = encode(&picture, &options).unwrap();
        assert_eq!(tell(&picture.notices), Vec::<String>::new(), "{kind}");
        assert_eq!(tell(&encoded.notices), Vec::<String>::new(), "{kind}");
        fs::write(&result, encoded.bytes).unwrap();
        let tags = &tags([result.as_path()].into_iter())[0];
        for (tag, want) in [
            ("EXIF:Make", Value::from("Maker")),
            ("EXIF:ISO", 400.into()),
            ("EXIF:GPSLatitude", 52.5.into()),
            ("EXIF:XResolution", 300.into()),
            ("XMP:Title", "Grün".into()),
        ] {
            assert_eq!(tags[tag], want, "{format:?} {kind}: {tag}: {tags}");
        }
        run(decoder, &[text(&result), text(&decoded)]);
        let (got, want) = (read(&decoded, &Limits::default()).unwrap(), base(kind));
        assert_eq!(got.alpha.is_some(), want.alpha.is_some(), "{format:?} {kind}");
        let (largest, mean) = difference(&got.color, &want.color);
        assert!(mean <= most, "{format:?} {kind}: {largest}, mean {mean}");
    }
}

#[cfg(feature = "avif")]
#[test]
fn avif_keeps_what_libavif_wrote() {
    check_feature(OutputFormat::Avif, &["avifenc", "--lossless"], "avifdec", 0.01);
}

#[cfg(feature = "jxl")]
#[test]
fn jpeg_xl_keeps_what_libjxl_wrote() {
    check_feature(OutputFormat::Jxl, &["cjxl", "-d", "0"], "djxl", 1e-6);
}
