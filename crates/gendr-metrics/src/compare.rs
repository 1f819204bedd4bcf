//! Several methods on the same pictures: which is best, and is that more than chance?

use std::collections::HashMap;

use serde::Serialize;

use crate::{
    evaluate::Evaluation,
    metric::{MetricInfo, Needs},
    statistics::{PairedDifference, Summary, holm},
};

/// A corrected p-value below this is called significant.
pub const SIGNIFICANCE: f64 = 0.05;

/// Methods compared by one metric, on the pictures that all of them have a score for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The metric.
    pub metric: MetricInfo,
    /// Number of pictures that all methods have.
    pub count: usize,
    /// In the order given.
    pub methods: Vec<MethodComparison>,
}

/// One method's place in a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodComparison {
    /// The method's name.
    pub name: String,
    /// Its scores on the common pictures.
    pub summary: Summary,
    /// Whether its mean loss is the smallest ([`crate::Direction::loss`]).
    pub best: bool,
    /// Its score minus the best method's, picture by picture; `None` for the best, and where a metric scores whole sets. For a
    /// metric that is best at zero these are distances from zero.
    pub difference: Option<PairedDifference>,
    /// The p-value of that difference, corrected for the number of methods (Holm).
    pub corrected_p_value: Option<f64>,
}

impl MethodComparison {
    /// Whether it is the best, or chance alone may have put it behind the best.
    pub fn ties_with_best(&self) -> bool {
        self.best || self.corrected_p_value.is_some_and(|p_value| p_value >= SIGNIFICANCE)
    }
}

/// Compares named methods by one metric; `None` where no picture has a score from all of them. A metric of whole sets has one
/// score for each method, which nothing tells from chance.
pub fn compare(methods: &[(&str, &Evaluation)], metric: &MetricInfo) -> Option<Comparison> {
    if metric.needs == Needs::References {
        return compare_sets(methods, metric);
    }
    let scores = common_scores(methods, metric.id);
    // At zero-is-best, distances compare; otherwise the values themselves do.
    let compared: Vec<Vec<f64>> = scores.iter().map(|scores| distances(metric, scores)).collect();
    let losses =
        compared.iter().map(|scores| scores.iter().map(|&score| metric.direction.loss(score)).sum::<f64>());
    let (best, _) = losses.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let differences: Vec<Option<PairedDifference>> = compared
        .iter()
        .enumerate()
        .map(|(index, scores)| (index != best).then(|| PairedDifference::of(scores, &compared[best]))?)
        .collect();
    let p_values: Vec<f64> = differences.iter().flatten().map(|difference| difference.p_value).collect();
    let mut corrected = holm(&p_values).into_iter();
    let methods = methods
        .iter()
        .zip(&scores)
        .zip(differences)
        .enumerate()
        .map(|(index, (((name, _), scores), difference))| {
            Some(MethodComparison {
                name: (*name).to_owned(),
                summary: Summary::of(scores)?,
                best: index == best,
                corrected_p_value: difference.and_then(|_| corrected.next()),
                difference,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Comparison { metric: *metric, count: scores[best].len(), methods })
}

fn compare_sets(methods: &[(&str, &Evaluation)], metric: &MetricInfo) -> Option<Comparison> {
    let score = |(_, evaluation): &(&str, &Evaluation)| evaluation.set_scores.get(metric.id);
    let scores: Vec<f64> = methods.iter().map(score).collect::<Option<_>>()?;
    let losses = scores.iter().map(|&score| metric.direction.loss(score));
    let (best, _) = losses.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let pictures =
        |(_, evaluation): &(&str, &Evaluation)| evaluation.rows.iter().filter(|row| row.in_set).count();
    let place = |(index, ((name, _), &score)): (usize, (&(&str, &Evaluation), &f64))| {
        Some(MethodComparison {
            name: (*name).to_owned(),
            summary: Summary::of(&[score])?,
            best: index == best,
            difference: None,
            corrected_p_value: None,
        })
    };
    Some(Comparison {
        metric: *metric,
        count: methods.iter().map(pictures).min()?,
        methods: methods.iter().zip(&scores).enumerate().map(place).collect::<Option<_>>()?,
    })
}

fn distances(metric: &MetricInfo, scores: &[f64]) -> Vec<f64> {
    match metric.direction {
        crate::Direction::Zero => scores.iter().map(|score| score.abs()).collect(),
        _ => scores.to_vec(),
    }
}

/// For each method the scores of the pictures that every method has, in the order of the first.
fn common_scores(methods: &[(&str, &Evaluation)], id: &str) -> Vec<Vec<f64>> {
    let by_name: Vec<HashMap<&str, f64>> = methods
        .iter()
        .map(|(_, evaluation)| {
            let rows = evaluation.rows.iter();
            rows.filter_map(|row| Some((row.name.as_str(), row.metrics.get(id)?))).collect()
        })
        .collect();
    let mut scores = vec![Vec::new(); methods.len()];
    for row in methods.first().into_iter().flat_map(|(_, evaluation)| &evaluation.rows) {
        let found: Option<Vec<f64>> =
            by_name.iter().map(|names| names.get(row.name.as_str()).copied()).collect();
        for (scores, score) in scores.iter_mut().zip(found.into_iter().flatten()) {
            scores.push(score);
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, built_in_metric};

    fn evaluation(id: &str, scores: &[(&str, f64)]) -> Evaluation {
        let row = |&(name, score): &(&str, f64)| Row {
            name: name.to_owned(),
            metrics: [(id, score)].into_iter().collect(),
            ..Row::default()
        };
        Evaluation {
            metrics: vec![*built_in_metric(id).unwrap().info()],
            rows: scores.iter().map(row).collect(),
            ..Evaluation::default()
        }
    }

    #[test]
    fn the_best_is_marked_on_common_pictures() {
        let names: Vec<String> = (0..20).map(|index| format!("{index}")).collect();
        let scored = |offset: f64| -> Vec<(&str, f64)> {
            names.iter().enumerate().map(|(index, name)| (name.as_str(), index as f64 + offset)).collect()
        };
        let (a, b) = (evaluation("psnr", &scored(0.0)), evaluation("psnr", &scored(1.0)));
        let c = evaluation("psnr", &scored(1.0)[1..]);
        let info = a.metrics[0];
        let comparison = compare(&[("a", &a), ("b", &b), ("c", &c)], &info).unwrap();
        assert_eq!(comparison.count, 19);
        let [a, b, c] = comparison.methods.as_slice() else { panic!("three methods") };
        assert!(!a.best && b.best && !c.best);
        assert_eq!(a.difference.unwrap().mean, -1.0);
        assert!(!a.ties_with_best() && c.ties_with_best());
    }

    #[test]
    fn lower_and_zero_are_better_where_the_metric_says_so() {
        for (id, values, best) in [
            ("niqe", [3.0, 5.0], 0),
            ("sharp", [-2.0, 0.5], 1),
            ("sharp", [0.1, -0.5], 0),
            ("ssim", [0.2, 0.3], 1),
        ] {
            let methods = values.map(|value| evaluation(id, &[("x", value), ("y", value)]));
            let info = methods[0].metrics[0];
            let comparison = compare(&[("a", &methods[0]), ("b", &methods[1])], &info).unwrap();
            assert!(comparison.methods[best].best, "{id}");
        }
    }

    #[test]
    fn whole_sets_have_a_best_and_no_test() {
        let set = |score: f64| Evaluation {
            set_scores: [("fid", score)].into_iter().collect(),
            rows: vec![Row { in_set: true, ..Row::default() }; 5],
            ..Evaluation::default()
        };
        let info = *crate::learned_metrics().iter().find(|info| info.id == "fid").unwrap();
        let (a, b) = (set(30.0), set(20.0));
        let comparison = compare(&[("a", &a), ("b", &b)], &info).unwrap();
        assert_eq!((comparison.count, comparison.methods[1].summary.mean), (5, 20.0));
        assert!(!comparison.methods[0].ties_with_best() && comparison.methods[1].best);
        assert!(compare(&[("a", &a), ("c", &Evaluation::default())], &info).is_none());
    }

    #[test]
    fn nothing_in_common_is_no_comparison() {
        let (a, b) = (evaluation("psnr", &[("x", 1.0)]), evaluation("psnr", &[("y", 1.0)]));
        let info = a.metrics[0];
        assert!(compare(&[("a", &a), ("b", &b)], &info).is_none());
        assert!(compare(&[], &info).is_none());
    }
}
