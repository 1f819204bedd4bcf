//! Our files in the eyes of other programs: ImageMagick for pixels, exiftool for metadata.

use std::{fs, path::Path, process::Command};

use gendr_image::{
    Density, DensityUnit, Depth, EncodeOptions, Limits, OutputFormat, Picture, Planes, Strip, decode, encode,
    read, upscale,
};
use moxcms::ColorProfile;
use serde_json::Value;

mod matrix;

use crate::samples::{all, base, difference, synthetic};

const FORMATS: [OutputFormat; 4] =
    [OutputFormat::Png, OutputFormat::Jpeg, OutputFormat::Webp, OutputFormat::Tiff];

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The pixels as ImageMagick sees them, 16 bits, `[height, width, channels]`.
fn magick(path: &Path, channels: &str) -> Vec<f32> {
    let bytes =
        run("convert", &[path.to_str().unwrap(), "-depth", "16", "-endian", "LSB", &format!("{channels}:-")]);
    bytes.chunks_exact(2).map(|pair| f32::from(u16::from_le_bytes([pair[0], pair[1]])) / 65535.0).collect()
}

fn interleaved(planes: &[&[f32]]) -> Vec<f32> {
    (0..planes[0].len()).flat_map(|index| planes.iter().map(move |plane| plane[index])).collect()
}

#[test]
fn imagemagick_reads_the_pixels_that_were_written() {
    let folder = tempfile::tempdir().unwrap();
    for format in [OutputFormat::Png, OutputFormat::Webp, OutputFormat::Tiff] {
        for (depth, grey, alpha) in [
            (Depth::Eight, false, false),
            (Depth::Eight, false, true),
            (Depth::Eight, true, false),
            (Depth::Eight, true, true),
            (Depth::Sixteen, false, false),
            (Depth::Sixteen, false, true),
            (Depth::Sixteen, true, true),
        ] {
            let mut picture = synthetic(37, 23);
            picture.depth = depth;
            picture.grey = grey;
            if grey {
                let plane = picture.color.plane(0).repeat(3);
                picture.color = Planes::from_vec(3, 23, 37, plane).unwrap();
            }
            picture.alpha = picture.alpha.filter(|_| alpha);
            let path = folder.path().join(format!("a.{}", format.extension()));
            let bytes = encode(&picture, &EncodeOptions::new(format)).unwrap().bytes;
            fs::write(&path, &bytes).unwrap();
            let got = magick(&path, "rgba");
            let written = decode(&bytes, &Limits::default()).unwrap();
            let opaque = vec![1.0; 37 * 23];
            let opacity = written.alpha.as_ref().map_or(&opaque[..], |alpha| alpha.data());
            let color = &written.color;
            let want = interleaved(&[color.plane(0), color.plane(1), color.plane(2), opacity]);
            let worst = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
            assert!(
                got.len() == want.len() && worst < 1e-4,
                "{format:?} {depth:?} {grey} {alpha}: off by {worst}"
            );
        }
    }
}

#[test]
#[cfg(feature = "jxl")]
fn libjxl_reads_the_pixels_that_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let (jxl, png) = (folder.path().join("a.jxl"), folder.path().join("a.png"));
    for (grey, alpha, depth) in [
        (false, false, Depth::Eight),
        (false, true, Depth::Eight),
        (true, false, Depth::Eight),
        (true, true, Depth::Eight),
        (false, false, Depth::Sixteen),
        (true, false, Depth::Sixteen),
        (false, true, Depth::Sixteen),
        (true, true, Depth::Sixteen),
    ] {
        let mut picture = synthetic(337, 123);
        picture.depth = depth;
        picture.grey = grey;
        if grey {
            picture.color = Planes::from_vec(3, 123, 337, picture.color.plane(0).repeat(3)).unwrap();
        }
        picture.alpha = picture.alpha.filter(|_| alpha);
        let encode = |format| encode(&picture, &EncodeOptions::new(format)).unwrap().bytes;
        fs::write(&jxl, encode(OutputFormat::Jxl)).unwrap();
        run("djxl", &[jxl.to_str().unwrap(), png.to_str().unwrap()]);
        let got = read(&png, &Limits::default()).unwrap();
        let want = decode(&encode(OutputFormat::Png), &Limits::default()).unwrap();
        assert!(difference(&got.color, &want.color).0 < 1e-6, "{grey} {alpha} {depth:?}");
        assert_eq!(got.alpha, want.alpha, "{grey} {alpha} {depth:?}");
    }
}

#[test]
#[cfg(feature = "avif")]
fn libavif_reads_the_colors_that_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let (avif, png) = (folder.path().join("a.avif"), folder.path().join("a.png"));
    for name in ["exact", "grey", "alpha"] {
        let picture = base(name);
        let options = EncodeOptions { quality: Some(95), ..EncodeOptions::new(OutputFormat::Avif) };
        fs::write(&avif, encode(&picture, &options).unwrap().bytes).unwrap();
        run("avifdec", &[avif.to_str().unwrap(), png.to_str().unwrap()]);
        let got = read(&png, &Limits::default()).unwrap();
        let mut difference = 0.0;
        let area = got.width() * got.height();
        for (index, (got, want)) in got.color.data().iter().zip(picture.color.data()).enumerate() {
            let seen = picture.alpha.as_ref().map_or(1.0, |alpha| alpha.data()[index % area]);
            difference += (got - want).abs() * seen / (3 * area) as f32;
        }
        assert!(difference < 0.01, "{name}: {difference}");
        assert_eq!(got.alpha.is_some(), picture.alpha.is_some(), "{name}");
    }
}

#[test]
fn both_programs_read_the_samples_alike() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in all() {
        // Lossy decoders may differ; ImageMagick reads these kinds otherwise on purpose (ink, animations), or turns nothing.
        if ["near/", "upright/", ".qoi", ".tga", "associated"].iter().any(|kind| name.contains(kind))
            || name.ends_with("jpg")
        {
            continue;
        }
        let path = folder.path().join(name.replace('/', "_"));
        fs::write(&path, &bytes).unwrap();
        let got = read(&path, &Limits::default()).unwrap().color;
        let got = interleaved(&[got.plane(0), got.plane(1), got.plane(2)]);
        let want = magick(&path, "rgb");
        let worst = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        assert!(got.len() == want.len() && worst < 1e-4, "{name}: off by {worst}");
    }
}

fn tags(path: &Path) -> Value {
    let json = run("exiftool", &["-j", "-n", "-G0", "-a", path.to_str().unwrap()]);
    serde_json::from_slice::<Value>(&json).unwrap()[0].take()
}

/// A file with metadata of all kinds, made by exiftool, `orientation` as stored.
fn described(folder: &Path, format: OutputFormat, orientation: u8) -> std::path::PathBuf {
    let path = folder.join(format!("source{orientation}.{}", format.extension()));
    fs::write(&path, encode(&base("exact"), &EncodeOptions::new(format)).unwrap().bytes).unwrap();
    let orientation = format!("-EXIF:Orientation#={orientation}");
    let mut arguments = vec![
        "-q",
        "-overwrite_original",
        "-n",
        &orientation,
        "-EXIF:Make=Maker & Söhne",
        "-EXIF:ISO=400",
        "-EXIF:LensModel=A lens of some length",
        "-EXIF:GPSLatitude=52.5",
        "-EXIF:GPSLatitudeRef=N",
        "-EXIF:ExifImageWidth=24",
        "-EXIF:ExifImageHeight=16",
        "-XMP-dc:Title=Grün <title>",
        "-XMP-exif:GPSLongitude=13.4",
        "-XMP-tiff:Orientation=6",
    ];
    if format != OutputFormat::Webp {
        arguments.extend(["-EXIF:XResolution=300", "-EXIF:YResolution=300", "-EXIF:ResolutionUnit=2"]);
    }
    if matches!(format, OutputFormat::Jpeg | OutputFormat::Tiff) {
        arguments.push("-IPTC:ObjectName=Object");
    }
    arguments.push(path.to_str().unwrap());
    run("exiftool", &arguments);
    path
}

#[test]
fn exiftool_finds_what_it_wrote_after_every_conversion() {
    let folder = tempfile::tempdir().unwrap();
    for source in FORMATS {
        for orientation in [1, 3, 6, 8] {
            let path = described(folder.path(), source, orientation);
            let mut picture = read(&path, &Limits::default()).unwrap();
            let (width, height) = (picture.width() * 4, picture.height() * 4);
            assert_eq!((width > height), orientation < 5, "{source:?} {orientation}");
            picture.color = upscale(&picture.color, width, height).unwrap();
            for target in FORMATS {
                let what = format!("{source:?} to {target:?}, orientation {orientation}");
                let out = folder.path().join(format!("out.{}", target.extension()));
                let encoded = encode(&picture, &EncodeOptions::new(target)).unwrap();
                fs::write(&out, encoded.bytes).unwrap();
                let tags = tags(&out);
                for (tag, want) in [
                    ("EXIF:Make", Value::from("Maker & Söhne")),
                    ("EXIF:ISO", 400.into()),
                    ("EXIF:LensModel", "A lens of some length".into()),
                    ("EXIF:GPSLatitude", 52.5.into()),
                    ("EXIF:ExifImageWidth", width.into()),
                    ("EXIF:ExifImageHeight", height.into()),
                    ("XMP:Title", "Grün <title>".into()),
                    ("XMP:Orientation", 1.into()),
                ] {
                    assert_eq!(tags[tag], want, "{what}: {tag}");
                }
                // TIFF's own tag is not part of EXIF, and none is as good as 1.
                assert!(tags.get("EXIF:Orientation").is_none_or(|value| value == 1), "{what}: {tags}");
                if picture.metadata.iptc.is_some() && target != OutputFormat::Webp {
                    assert_eq!(tags["IPTC:ObjectName"], "Object", "{what}");
                }
                assert_eq!(tags.get("ExifTool:Warning"), None, "{what}");
                assert_eq!(
                    (&tags["File:ImageWidth"], &tags["EXIF:Error"]),
                    (&tags["File:ImageWidth"], &Value::Null)
                );
            }
        }
    }
}

#[test]
fn exiftool_finds_no_place_after_it_was_stripped() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let picture = read(&described(folder.path(), format, 1), &Limits::default()).unwrap();
        let out = folder.path().join(format!("out.{}", format.extension()));
        let options = EncodeOptions { strip: Strip::Gps, ..EncodeOptions::new(format) };
        fs::write(&out, encode(&picture, &options).unwrap().bytes).unwrap();
        let tags = tags(&out);
        assert!(tags.as_object().unwrap().keys().all(|key| !key.contains("GPS")), "{format:?}: {tags}");
        assert_eq!((&tags["EXIF:ISO"], tags.get("ExifTool:Warning")), (&400.into(), None), "{format:?}");
    }
}

/// Canon's kind of maker note, whose values lie at offsets from the start of the EXIF block around it.
const MAKER_NOTE: &[u8; 58] = b"\x02\0\
    \x06\0\x02\0\x10\0\0\0\x5c\0\0\0\
    \x09\0\x02\0\x0c\0\0\0\x6c\0\0\0\
    \0\0\0\0Canon EOS Test\0\0Photographer";

#[test]
fn exiftool_understands_maker_notes_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let mut picture = base("exact");
    let head = b"II*\0\x08\0\0\0\x02\0\
        \x0f\x01\x02\0\x06\0\0\0\x26\0\0\0\
        \x69\x87\x04\0\x01\0\0\0\x2c\0\0\0\
        \0\0\0\0Canon\0\
        \x01\0\x7c\x92\x07\0\x3a\0\0\0\x3e\0\0\0\0\0\0\0";
    picture.metadata.exif = Some([&head[..], MAKER_NOTE].concat());
    picture.metadata.density = Some(Density { x: 300.0, y: 300.0, unit: DensityUnit::Inch });
    for format in FORMATS {
        let out = folder.path().join(format!("out.{}", format.extension()));
        assert!(picture.metadata.set_recipe("{}"));
        fs::write(&out, encode(&picture, &EncodeOptions::new(format)).unwrap().bytes).unwrap();
        let tags = tags(&out);
        assert_eq!(tags["MakerNotes:CanonImageType"], "Canon EOS Test", "{format:?}: {tags}");
        assert_eq!(tags["MakerNotes:OwnerName"], "Photographer", "{format:?}");
        assert_eq!(tags.get("ExifTool:Warning"), None, "{format:?}");
        let note = run("exiftool", &["-b", "-MakerNoteCanon", out.to_str().unwrap()]);
        // Of Canon's notes, exiftool gives four bytes of a header and an offset more.
        assert!(note.starts_with(MAKER_NOTE), "{format:?}: {note:?}");
        picture = read(&out, &Limits::default()).unwrap();
    }
}

#[test]
fn a_recipe_is_well_formed_xmp() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let mut picture = read(&described(folder.path(), format, 1), &Limits::default()).unwrap();
        assert!(picture.metadata.set_recipe("{\"model\": \"<tiny> & more\"}"));
        let out = folder.path().join(format!("out.{}", format.extension()));
        fs::write(&out, encode(&picture, &EncodeOptions::new(format)).unwrap().bytes).unwrap();
        let tags = tags(&out);
        assert_eq!(tags["XMP:Recipe"], "{\"model\": \"<tiny> & more\"}", "{format:?}");
        assert_eq!(tags["XMP:Title"], "Grün <title>", "{format:?}");
    }
}

#[test]
fn colors_agree_with_lcms() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, profile: ColorProfile| {
        let path = folder.path().join(name);
        let mut icc = profile.encode().unwrap();
        icc.resize(icc.len().next_multiple_of(4), 0);
        let length = icc.len() as u32;
        icc[..4].copy_from_slice(&length.to_be_bytes());
        fs::write(&path, icc).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let srgb = write("srgb.icc", ColorProfile::new_srgb());
    for (name, profile) in [("p3", ColorProfile::new_display_p3()), ("adobe", ColorProfile::new_adobe_rgb())]
    {
        let source = write(name, profile);
        let icc = fs::read(&source).unwrap();
        let mut picture = Picture::from_color(base("exact").color);
        picture.depth = Depth::Sixteen;
        picture.metadata.icc = Some(icc);
        let path = folder.path().join("a.png");
        fs::write(&path, encode(&picture, &EncodeOptions::new(OutputFormat::Png)).unwrap().bytes).unwrap();
        let converted = folder.path().join("b.png");
        let arguments =
            [path.to_str().unwrap(), "-profile", &source, "-profile", &srgb, converted.to_str().unwrap()];
        run("convert", &arguments);
        let want = read(&converted, &Limits::default()).unwrap().color;
        let mut got = picture.color.clone();
        picture.color_space().unwrap().to_srgb(&mut got);
        got.map_in_place(|value| value.clamp(0.0, 1.0));
        let (largest, mean) = difference(&got, &want);
        assert!(mean < 0.002 && largest < 0.03, "{name}: {largest}, mean {mean}");
    }
}
