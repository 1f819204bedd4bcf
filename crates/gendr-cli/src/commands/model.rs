//! `gendr model`: what a model is, and what it becomes.

use gendr::{BUILT_IN, ModelSource, Result, format_bytes};
use gendr_model::{Description, Family, ModelInfo, StoredModel, initialize_model, verify_model};
use serde_json::json;

use crate::{
    args::{ConvertArgs, InfoArgs, InitArgs, InterpolateArgs, ModelCommand, VerifyArgs},
    console::{print_data, print_json},
    status::Status,
};

pub(crate) fn run(command: &ModelCommand) -> Result<Status> {
    match command {
        ModelCommand::Info(args) => info(args),
        ModelCommand::List => list(),
        ModelCommand::Init(args) => init(args),
        ModelCommand::Convert(args) => convert(args),
        ModelCommand::Interpolate(args) => interpolate(args),
        ModelCommand::Verify(args) => verify(args),
    }?;
    Ok(Status::Done)
}

fn open(name: &str) -> Result<StoredModel> {
    ModelSource::from(name).stored()
}

fn info(args: &InfoArgs) -> Result<()> {
    let model = open(&args.model)?;
    let info = model.info()?;
    if args.json { print_json(&info_json(&model, &info)) } else { print_data(&info_text(&model, &info)) }
}

fn info_json(model: &StoredModel, info: &ModelInfo) -> serde_json::Value {
    let description = model.description();
    let parts: Vec<_> = info
        .parts
        .iter()
        .map(|part| {
            json!({
                "name": part.name, "tensors": part.tensors, "parameters": part.parameters, "stored": part.stored,
            })
        })
        .collect();
    json!({
        "name": description.name, "family": info.family.name(), "scale": info.scale, "parts": parts,
        "parameters": info.parameters(), "tensors": info.tensors(), "file_bytes": info.file_bytes,
        "multiply_adds_512": info.multiply_adds, "memory_bytes_512": info.memory_bytes,
        "color_fix": description.color_fix, "licence": description.licence, "origin": description.origin,
    })
}

fn info_text(model: &StoredModel, info: &ModelInfo) -> String {
    let description = model.description();
    let mut lines = vec![
        ("name", description.name.clone()),
        ("family", info.family.name().to_owned()),
        ("scale", info.scale.to_string()),
    ];
    for part in &info.parts {
        let (parameters, tensors, stored) = (grouped(part.parameters), part.tensors, &part.stored);
        lines.push((part.name, format!("{parameters} parameters in {tensors} tensors, stored as {stored}")));
    }
    lines.push(("file", format_bytes(info.file_bytes)));
    lines.push(("multiply-adds", format!("{:.1} G for 512x512", info.multiply_adds as f64 / 1e9)));
    lines.push(("memory", format!("about {} for 512x512", format_bytes(info.memory_bytes))));
    lines.push(("colour fix", description.color_fix.clone()));
    lines.push(("licence", description.licence.clone()));
    lines.push(("origin", description.origin.clone()));
    lines
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:<14} {value}\n"))
        .collect()
}

/// Digits in groups of three.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn list() -> Result<()> {
    let info = open(BUILT_IN)?.info()?;
    let line = |name: &str, kind: &str, family: Family, parameters: usize| {
        format!("{name:14}  {kind}, family {}, {} parameters\n", family.name(), grouped(parameters))
    };
    let mut text = line(BUILT_IN, "built in", info.family, info.parameters());
    for name in Description::presets() {
        let description = Description::preset(name)?;
        text += &line(name, "for `gendr model init`", description.family, description.parameters()?);
    }
    print_data(&text)
}

fn init(args: &InitArgs) -> Result<()> {
    let path = std::path::Path::new(&args.config);
    let description =
        if path.exists() { Description::open(path)? } else { Description::preset(&args.config)? };
    Ok(initialize_model(&description, args.seed, &args.output, args.precision)?)
}

fn convert(args: &ConvertArgs) -> Result<()> {
    Ok(open(&args.model)?.save(&args.output, args.precision)?)
}

fn interpolate(args: &InterpolateArgs) -> Result<()> {
    let (first, second) = (open(&args.first)?, open(&args.second)?);
    Ok(first.save_interpolated(&second, args.share, &args.output, args.precision)?)
}

fn verify(args: &VerifyArgs) -> Result<()> {
    let source = ModelSource::from(args.model.as_str());
    let (hashes, tensors) = match &source {
        ModelSource::BuiltIn => (0, source.stored()?.check_values()?),
        ModelSource::Path(path) => {
            source.check_exists()?;
            let verified = verify_model(path)?;
            (verified.hashes, verified.tensors)
        }
    };
    let hashes = if hashes == 0 { "no hashes stored".to_owned() } else { format!("{hashes} hashes right") };
    print_data(&format!("{tensors} tensors whole and finite, {hashes}\n"))
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(grouped(865_979_856), "865,979,856");
        assert_eq!([grouped(0), grouped(999), grouped(1000)], ["0", "999", "1,000"]);
    }
}
