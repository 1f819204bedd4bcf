//! Names that diffusers has changed since.

/// The attention layers of a VAE before diffusers 0.17, and what they are called now.
const ATTENTION: [(&str, &str); 4] =
    [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];

/// The present name of a tensor: `query`, `key`, `value` and `proj_attn` below `attentions.N` become `to_q`, `to_k`,
/// `to_v` and `to_out.0`.
pub(super) fn modern(name: &str) -> String {
    let Some((block, layer)) = name.split_once(".attentions.") else { return name.to_owned() };
    let renamed = layer.split('.').enumerate().map(|(place, part)| {
        // The position of the attention comes first, the layer second.
        let new = ATTENTION.iter().find(|(old, _)| place == 1 && *old == part);
        new.map_or(part, |(_, new)| new)
    });
    format!("{block}.attentions.{}", renamed.collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_layers_of_an_attention_are_renamed() {
        let old = "decoder.mid_block.attentions.0.proj_attn.weight";
        assert_eq!(modern(old), "decoder.mid_block.attentions.0.to_out.0.weight");
        assert_eq!(
            modern("encoder.mid_block.attentions.0.key.bias"),
            "encoder.mid_block.attentions.0.to_k.bias"
        );
        for name in ["key", "attentions.0.query", "a.attentions.0.to_out.0.weight", "value.weight"] {
            assert_eq!(modern(name), name);
        }
    }
}
