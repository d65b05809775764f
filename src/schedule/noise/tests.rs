//! Parts of the noise.

use super::*;

fn parts(partition: Partition, blocks: usize, classes: Option<Classes<'_>>) -> NoiseParts {
    partition.parts(NoiseDistribution::default(), blocks, 0.05, classes).unwrap()
}

fn refused(partition: Partition, noise: NoiseDistribution, blocks: usize, overlap: f64) -> String {
    partition.parts(noise, blocks, overlap, None).unwrap_err().to_string()
}

#[test]
fn blocks_are_counted_from_noise_to_target() {
    let three = parts(Partition::EqualProbability, 3, None);
    let rounded: Vec<f64> = three.edges().iter().map(|s| (1e5 * s).round() / 1e5).collect();
    assert_eq!(rounded, [0.002, 0.17963, 0.50504, 80.0]);
    assert_eq!(three.part(1), [three.edges()[2], 80.0]);
    assert_eq!(three.part(3), [0.002, three.edges()[1]]);
    assert!(three.span(2)[0] < three.part(2)[0] && three.span(2)[1] > three.part(2)[1]);
    assert_eq!((three.span(1)[1], three.span(3)[0]), (80.0, 0.002));
}

#[test]
fn steps_within_parts_are_the_parts_of_more_blocks() {
    let (three, twelve) =
        (parts(Partition::EqualProbability, 3, None), parts(Partition::EqualProbability, 12, None));
    let levels = three.levels(4);
    assert_eq!(levels.len(), 13);
    for (level, edge) in levels.iter().zip(twelve.edges().iter().rev()) {
        assert!((level / edge - 1.0).abs() < 1e-12, "{level} and not {edge}");
    }
}

#[test]
fn parts_of_equal_information_hold_equal_shares() {
    let mut rows = [[0.0; 10]; 10];
    (0..10).for_each(|c| rows[c][c] = 1.0);
    let classes = Classes { rows: rows.as_flattened(), width: 10 };
    let five = parts(Partition::EqualInformation, 5, Some(classes));
    let shares = five.information(&rows).unwrap();
    for (i, share) in shares.iter().enumerate() {
        let expected = 1.0 - i as f64 / 5.0;
        assert!((share - expected).abs() < 0.005, "{i}: {share} at {}", five.edges()[i]);
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let noise = NoiseDistribution::default();
    let default = Partition::EqualProbability;
    let cases = [
        (refused(default.clone(), noise, 0, 0.0), "DiffusionBlocks::blocks"),
        (refused(default.clone(), noise, 3, -0.1), "DiffusionBlocks::overlap"),
        (refused(default.clone(), noise, 3, f64::NAN), "DiffusionBlocks::overlap"),
        (
            refused(default.clone(), NoiseDistribution { p_mean: f64::NAN, ..noise }, 3, 0.0),
            "NoiseDistribution::p_mean",
        ),
        (
            refused(default.clone(), NoiseDistribution { p_mean: 1e5, ..noise }, 3, 0.0),
            "NoiseDistribution::p_mean",
        ),
        (
            refused(default.clone(), NoiseDistribution { p_std: 0.0, ..noise }, 3, 0.0),
            "NoiseDistribution::p_std",
        ),
        (
            refused(default.clone(), NoiseDistribution { sigma_min: 0.0, ..noise }, 3, 0.0),
            "NoiseDistribution::sigma_min",
        ),
        (
            refused(default.clone(), NoiseDistribution { sigma_max: 0.002, ..noise }, 3, 0.0),
            "NoiseDistribution::sigma_max",
        ),
        (
            refused(default, NoiseDistribution { sigma_max: f64::INFINITY, ..noise }, 3, 0.0),
            "NoiseDistribution::sigma_max",
        ),
        (refused(Partition::EqualInformation, noise, 3, 0.0), "DiffusionBlocks::partition"),
        (refused(Partition::Edges(vec![0.5]), noise, 3, 0.0), "Partition::Edges"),
        (refused(Partition::Edges(vec![0.5, 0.5]), noise, 3, 0.0), "Partition::Edges"),
        (refused(Partition::Edges(vec![0.5, f64::NAN]), noise, 3, 0.0), "Partition::Edges"),
        (refused(Partition::Edges(vec![0.5, 80.0]), noise, 3, 0.0), "Partition::Edges"),
        (
            refused(
                Partition::Edges(vec![70.0]),
                NoiseDistribution { p_std: 0.01, ..noise },
                2,
                0.0,
            ),
            "DiffusionBlocks::partition",
        ),
    ];
    for (error, setting) in cases {
        assert!(error.starts_with(setting), "{error} and not of {setting}");
    }
}
